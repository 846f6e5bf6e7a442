"""Delivers updates to the bot: by webhook or getUpdates."""
