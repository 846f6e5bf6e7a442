"""Tests of the mailboxes room."""
