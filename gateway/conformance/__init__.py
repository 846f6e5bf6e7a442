"""Rules by which running services in any language are examined, and their runner.

Nothing that runs in production imports this package.
"""
