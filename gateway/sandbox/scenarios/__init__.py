"""Plays scenarios: what users do and what they should see, written in small files.

`reading.py` reads a file, `verbs.py` has what can stand in one, `playing.py` plays it
on a simulator, and `run.py` starts the parts of a sandbox around that. The files beside
them are examples.
"""
