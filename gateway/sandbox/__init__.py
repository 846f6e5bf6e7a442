"""A Telegram on your desk: Bot API simulator and sample services.

Imports no other room.
"""
