"""Mailboxes in Redis, and in memory while Redis is down."""
