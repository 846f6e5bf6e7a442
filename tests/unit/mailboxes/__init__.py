"""Tests of gateway/mailboxes."""
