"""Performs actions of users, and creates the updates that result from them."""
