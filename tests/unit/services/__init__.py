"""Tests of gateway/services."""
