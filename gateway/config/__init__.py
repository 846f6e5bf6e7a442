"""Typed settings from the environment; all problems are reported together."""
