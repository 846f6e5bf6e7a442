"""A simulated Telegram: the Bot API, its state, and the actions of users."""
