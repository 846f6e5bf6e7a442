"""Processes the delivery at the head of a mailbox: renders, sends and commits it."""
