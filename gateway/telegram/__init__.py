"""The only room that speaks Telegram: its JSON, its Bot API, its limits.

Imports the ground floor only.
"""
