"""The mailbox store in an SQLite file, which all workers on one machine may share."""
