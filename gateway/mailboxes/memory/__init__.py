"""The mailbox store in memory, which is lost when the process ends."""
