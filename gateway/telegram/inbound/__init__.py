"""Reads updates: what Telegram sends becomes domain updates and contract messages."""
