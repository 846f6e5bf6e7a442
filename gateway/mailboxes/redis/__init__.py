"""The mailbox store in Redis, for any number of workers and machines.

Lua scripts inside Redis make every change.
"""
