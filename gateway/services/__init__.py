"""The only package that uses gRPC. It imports only the domain."""
