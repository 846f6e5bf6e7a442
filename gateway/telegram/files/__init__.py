"""Serves the files that users send, to services, at signed URLs."""
