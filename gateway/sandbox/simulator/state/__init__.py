"""The state of the simulated Telegram: users, messages, files, queries, updates."""
