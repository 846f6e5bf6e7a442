"""Programs that measure the gateway as a process of its own. See README.md."""
