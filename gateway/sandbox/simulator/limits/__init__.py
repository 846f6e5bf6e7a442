"""Telegram's limits of how often a bot may send, and counts of violations."""
