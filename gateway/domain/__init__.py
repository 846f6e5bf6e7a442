"""The domain: plain data and ports. No I/O; imports no other package of the gateway."""
