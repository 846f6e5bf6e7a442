"""Rules that a service in any language has to pass, and their runner.

Nothing that runs in production imports this package.
"""
