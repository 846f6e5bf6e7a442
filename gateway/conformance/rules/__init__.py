"""The rules, one module for each part of a service that they examine."""
