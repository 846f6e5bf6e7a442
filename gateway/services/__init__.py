"""The only package that calls the services. It imports only the domain."""
