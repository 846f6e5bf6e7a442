"""Errors and delays that the simulated Bot API produces on demand."""
