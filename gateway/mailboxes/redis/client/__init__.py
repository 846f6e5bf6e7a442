"""A pipelined Redis driver that knows no mailbox."""
