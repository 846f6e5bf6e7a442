"""The whole gateway: webhook in, reply out."""
