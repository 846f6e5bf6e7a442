"""Plays scenarios: what users do and what they should see, written in small files.

`parser.py` reads a file, `steps.py` has what can stand in one, `player.py` plays it
on a simulator, and `runner.py` starts the parts of a sandbox around that. The
files beside them are examples.
"""
