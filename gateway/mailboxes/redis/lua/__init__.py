"""The Lua scripts that change mailboxes inside Redis, and what reads them."""
