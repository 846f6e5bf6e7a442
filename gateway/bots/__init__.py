"""The bots of a process: the components of each, and changes while they run."""
