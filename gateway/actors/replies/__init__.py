"""From a routed update to the sent reply."""
