"""Texts for users that more than one package needs."""

APOLOGY_TEXT = "Something went wrong on our side. Please try again in a minute."
