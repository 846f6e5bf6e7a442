"""Broadcasts: the rpcs, and the source of the deliveries for their recipients."""
