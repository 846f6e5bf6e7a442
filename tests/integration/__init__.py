"""Tests of one part of the gateway with a real server."""
