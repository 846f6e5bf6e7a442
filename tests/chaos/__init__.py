"""Real processes under load and faults, and a checker over what they did."""
