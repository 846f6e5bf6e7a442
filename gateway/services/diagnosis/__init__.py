"""Finds out why calls of a service fail, and explains it to people."""
