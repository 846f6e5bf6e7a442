"""A local Telegram: a Bot API simulator and sample services.

Imports no other room.
"""
