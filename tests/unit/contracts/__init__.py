"""Tests of the contracts that a gateway serves."""
