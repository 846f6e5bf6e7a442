"""Tests of gateway/observability."""
