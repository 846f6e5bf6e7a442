"""Parses Telegram's JSON into domain updates and contract messages."""
