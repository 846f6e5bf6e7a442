"""The client side of the internal services: contracts, routes and gRPC calls.

Only this package calls the services. Of the gateway it imports only the domain.
"""
