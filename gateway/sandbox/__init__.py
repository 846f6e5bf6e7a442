"""A local stand-in for Telegram: a Bot API simulator and sample services.

Only `gateway.cli.sandbox` and `gateway.traced_gateway` import it; the production path
never does.
"""
