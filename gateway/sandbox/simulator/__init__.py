"""A simulated Telegram: the Bot API, its state, and what users do."""
