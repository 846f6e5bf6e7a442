"""The state of the simulated Telegram."""
