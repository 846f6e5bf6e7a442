"""Four small services behind the gateway: an example for service developers.

Read `conversation.py` first, then `matching.py`. A service is a class with one method
for each rpc of its contract: it gets the user and the message, and returns the reply.
The gateway handles routes, chats, limits and Telegram.

    python -m gateway.sandbox.samples --port 50051
"""
