"""`python -m gateway` is the same as `telegram-gateway`."""

from gateway.cli import main

main()
