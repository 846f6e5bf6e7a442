"""The Telegram adapter: update JSON, Bot API calls, files and the limits of Telegram.

Only this package and the sandbox contain such details. Of the gateway it imports only
the domain and observability.
"""
