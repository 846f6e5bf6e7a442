"""The Delivery service: the gRPC server through which services speak first."""
