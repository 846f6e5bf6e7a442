"""Several worker processes that share one port, and the supervisor that runs them."""
