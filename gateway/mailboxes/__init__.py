"""Stores for accepted updates and deliveries, until they are processed.

There are three: in Redis, in a file, and in memory. This package imports the domain
layer and shared modules, never the adapters for Telegram or the services.
"""
