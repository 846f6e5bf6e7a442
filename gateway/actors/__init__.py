"""The only room with actor logic; does no I/O of its own.

Imports the ground floor only.
"""
