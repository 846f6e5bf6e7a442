"""HTTP servers, and the endpoints for health, readiness and metrics."""
