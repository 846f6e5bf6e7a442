"""The chat page, and the HTTP endpoints that it uses."""
