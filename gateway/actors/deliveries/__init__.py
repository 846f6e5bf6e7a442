"""The steps from a delivery in a mailbox to its committed end."""
