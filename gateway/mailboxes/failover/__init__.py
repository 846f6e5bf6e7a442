"""Failover: mailboxes in Redis, and in memory while Redis is unavailable."""
