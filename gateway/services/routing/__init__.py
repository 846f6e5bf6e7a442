"""Routes from the contracts; nothing here opens a connection."""
