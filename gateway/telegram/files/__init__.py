"""Serves users' files to services at signed URLs."""
