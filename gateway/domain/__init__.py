"""The domain: plain data types, and the interfaces (ports) that the other layers fill.

Nothing here does I/O, and nothing imports another package of the gateway.
"""
