"""What the simulated Telegram remembers."""
