"""A pipelined Redis client for one server, a server with Sentinels, or a Cluster."""
