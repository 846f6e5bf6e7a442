"""Tests of the contracts against fake gRPC servers."""
