"""The actor logic: schedules and processes updates. Does no I/O of its own."""
