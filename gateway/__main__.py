"""`python -m gateway` is the same as `telegram-gateway`."""

from gateway.cli.main import main

main()
