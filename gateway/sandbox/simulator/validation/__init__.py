"""The Bot API's checks of parameters, with Telegram's error messages."""
