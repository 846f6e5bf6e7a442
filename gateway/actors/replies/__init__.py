"""Calls the service that an update was routed to, and sends its reply to the user."""
