"""Loads contracts from any repository, and makes message classes for their rpcs."""
