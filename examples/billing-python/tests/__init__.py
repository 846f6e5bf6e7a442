"""Tests of what scenarios do not see."""
