"""Whom users can meet here."""

PEOPLE = {"u-grace": "Grace", "u-linus": "Linus"}
"""First names by internal user id."""
