"""Routes from contracts: pure, without a connection."""
