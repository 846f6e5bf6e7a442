"""The settings, from the environment and from the files that it names."""
