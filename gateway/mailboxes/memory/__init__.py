"""The store of one process: mailboxes that end with it."""
