"""Calls the Bot API over a connection pool of its own."""
