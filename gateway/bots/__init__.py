"""Builds the bots of a process, and changes them while the process runs."""
