"""The steps from a routed update to the sent reply."""
