"""Broadcasts: the rpcs, and what lets the deliveries for recipients in."""
