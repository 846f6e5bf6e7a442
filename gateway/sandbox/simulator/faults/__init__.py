"""Errors that the simulated Bot API returns on demand."""
