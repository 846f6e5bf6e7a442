"""Tests of the files of this repository: documentation, locks, deployment."""
