"""The checks of the Bot API, with Telegram's error messages."""
