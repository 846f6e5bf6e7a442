"""Contracts from any repository, and message classes for their rpcs."""
