"""The Telegram adapter: update JSON, Bot API calls, files and the limits of Telegram.

Only this package and the sandbox know these. It imports the domain and observability.
"""
