"""Tests of the conformance rules."""
