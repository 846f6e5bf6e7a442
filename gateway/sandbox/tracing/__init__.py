"""Traces of the updates that a gateway processes, for the chat page."""
