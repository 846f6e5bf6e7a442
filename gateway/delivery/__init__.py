"""The Delivery service: the gRPC server that services ask to send messages."""
