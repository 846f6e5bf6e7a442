"""Storage for accepted updates until they are processed.

This package imports the domain layer and shared modules, never the adapters for
Telegram or the services.
"""
