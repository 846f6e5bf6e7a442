"""Serves the files of users and services at signed URLs."""
