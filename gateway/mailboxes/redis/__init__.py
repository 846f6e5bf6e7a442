"""The durable mailbox store: mailboxes in Redis, changed by Lua scripts."""
