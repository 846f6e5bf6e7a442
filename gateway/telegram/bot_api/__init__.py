"""The client of the Bot API."""
