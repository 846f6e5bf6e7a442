"""Checks webhooks and command menus, with Telegram's error messages."""

import ipaddress
import re
from urllib.parse import urlsplit

from gateway.sandbox.simulator.validation.rules import (
    Parameters,
    bad_request,
    json_value,
    number,
    strip_spaces,
)

_PORTS = (443, 80, 88, 8443)
OPT_IN_TYPES = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Update types that are only delivered if the bot explicitly allows them."""
UPDATE_TYPES = OPT_IN_TYPES | {
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
    "subscription",
    "stopped_message_generation",
}


def webhook(parameters: Parameters) -> Parameters:
    """Check the parameters of setWebhook.

    Unlike Telegram, accept loopback addresses, because the sandbox's gateway has one.

    Returns:
        The fields that getWebhookInfo returns for them.

    Raises:
        ApiError: the URL or the secret is invalid.
    """
    url = str(parameters["url"])
    try:
        address = urlsplit(url)
        host, port = address.hostname or "", address.port or 443
    except ValueError:
        raise bad_request("invalid webhook URL specified") from None
    if not host or address.scheme not in {"http", "https"}:
        raise bad_request("invalid webhook URL specified")
    secret = str(parameters.get("secret_token", ""))
    if len(secret) > 256:
        raise bad_request("secret token is too long")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
        raise bad_request("secret token contains unallowed characters")
    if not _is_loopback(host):
        if address.scheme != "https":
            raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
        if port not in _PORTS:
            raise bad_request(
                "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"
            )
    connections = number(parameters.get("max_connections", 40))
    return {"url": url, "max_connections": min(max(connections, 1), 100)}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_updates(parameters: Parameters) -> list[str] | None:
    """Return the update types that a call allows, without unknown names.

    Returns:
        The types. An empty list means the default, which is all types but three; it is
        also the result if no name is known. None if the call does not say, so that the
        setting stays as it is.
    """
    names = json_value(parameters, "allowed_updates", "allowed updates")
    if not isinstance(names, list):
        return None
    known = {str(name).lower() for name in names} & UPDATE_TYPES
    return [] if known == UPDATE_TYPES - OPT_IN_TYPES else sorted(known)


def commands(parameters: Parameters) -> list[Parameters]:
    """Check and return the commands of the bot's menu; an empty list removes them.

    Raises:
        ApiError: a command is invalid, or there are too many.
    """
    listed = json_value(parameters, "commands", "commands")
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise bad_request("Expected an Array of BotCommand")
    if len(listed) > 100:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    return [_command(each) for each in listed]


def _command(given: object) -> Parameters:
    problem = "Can't parse BotCommand: "
    if not isinstance(given, dict):
        raise bad_request(f"{problem}expected an Object")
    for field in ("command", "description"):
        if not isinstance(given.get(field), str):
            raise bad_request(f'{problem}Can\'t find field "{field}"')
    name = strip_spaces(given["command"]).removeprefix("/")
    description = strip_spaces(given["description"])
    if not name:
        raise bad_request("Command must be non-empty")
    if len(name) > 32:
        raise bad_request("Command length must not exceed 32")
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise bad_request("BOT_COMMAND_INVALID")
    if not description:
        raise bad_request("Command description must be non-empty")
    if len(description) > 256:
        raise bad_request("Command description length must not exceed 256")
    return {"command": name, "description": description}
