"""Four small services behind the gateway: an example for authors of services.

Read `conversation.py` first, then `matching.py`. A service is a class with one method
for each rpc of its contract: it gets who asks and what was said, and gives back what
the user should see. Routes, chats, limits and Telegram are the gateway's business.

    python -m gateway.sandbox.samples --port 50051
"""
