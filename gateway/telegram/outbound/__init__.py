"""Renders replies: contract messages become calls of the Bot API."""
