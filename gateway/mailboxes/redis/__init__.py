"""The durable store: mailboxes in Redis, changed by Lua scripts."""
