"""Schedules and processes updates and deliveries, with no I/O but through the ports."""
