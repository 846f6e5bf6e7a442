"""Starts and stops the sandbox: simulator, sample services and gateway."""
