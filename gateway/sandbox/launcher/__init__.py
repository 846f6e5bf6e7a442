"""Starts the simulator, the sample services and the gateway."""
