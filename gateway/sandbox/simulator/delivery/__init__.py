"""Delivers updates to the bots, to their webhooks or by getUpdates."""
