"""Tests of gateway/sandbox."""
