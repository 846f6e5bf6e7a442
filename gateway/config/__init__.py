"""Settings: typed, read from the environment, all problems told at once."""
