"""HTTP servers of the gateway's own, and its health."""
