"""Where accepted updates live until they are done.

Imports the ground floor only.
"""
