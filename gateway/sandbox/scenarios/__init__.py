"""Scenario tests: YAML files with actions of users and the expected reactions.

`parser.py` parses a file, `steps.py` defines the steps, `player.py` plays a scenario on
a simulator, and `runner.py` runs scenarios in a sandbox. The YAML files here are
examples.
"""
