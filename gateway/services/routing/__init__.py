"""Reads the routes from the contracts, and matches updates; opens no connections."""
