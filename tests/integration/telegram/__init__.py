"""Tests of gateway/telegram."""
