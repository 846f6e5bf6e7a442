"""Calls the Bot API: connections, retries, cool-downs and the meaning of errors."""
