"""Parses Telegram's JSON to the domain's updates and the contract's messages."""
