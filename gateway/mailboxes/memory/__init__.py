"""The mailbox store in the memory of one process, which is lost when that ends."""
