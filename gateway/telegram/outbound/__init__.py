"""Renders replies: the contract's messages become calls of the Bot API."""
