"""The mailbox store in one file on this machine, for any number of its processes."""
