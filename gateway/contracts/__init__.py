"""Loads the contracts that a gateway serves, and replaces them while it runs."""
