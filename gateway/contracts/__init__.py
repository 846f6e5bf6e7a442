"""The contracts that a gateway serves, and changes of them while it runs."""
