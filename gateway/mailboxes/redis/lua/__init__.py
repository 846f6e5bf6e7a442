"""The Lua scripts that change mailboxes inside Redis, and their loader."""
