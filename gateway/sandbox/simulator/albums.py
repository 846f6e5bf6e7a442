"""Checks the parameters of sendMediaGroup, with Telegram's error messages."""

import secrets

from gateway.sandbox.simulator.state import attachments
from gateway.sandbox.simulator.validation import rules, text_rules
from gateway.sandbox.simulator.validation.rules import Parameters, bad_request

_LARGEST = 10
_MIXED = {"photo", "video"}
_KINDS = _MIXED | {"audio", "document"}


def album(parameters: Parameters) -> list[Parameters]:
    """Check the parameters of sendMediaGroup, and return the fields of each message.

    Raises:
        ApiError: the parameters are invalid.
    """
    given = rules.json_value(parameters, "media", "media")
    if not isinstance(given, list):
        raise bad_request("Expected an Array of InputMedia")
    if len(given) > _LARGEST:
        raise bad_request("Too many messages to send as an album")
    # Telegram has been observed to accept one; its documentation says 2 to 10.
    if len(given) < 2:
        raise bad_request("Too few messages to send as an album")
    if parameters.get("reply_markup"):
        # Telegram ignores it, and the buttons would be missing.
        raise bad_request("An album has no reply markup")
    group = {"media_group_id": str(secrets.randbelow(10**17))}
    contents = [_content(parameters, item) | group for item in given]
    kinds = {item["type"] for item in given}
    if len(kinds) > 1 and not kinds <= _MIXED:
        odd = min(kinds - _MIXED).capitalize()
        raise bad_request(f"{odd} can't be mixed with other media types")
    return contents


def _content(parameters: Parameters, item: object) -> Parameters:
    if not isinstance(item, dict):
        raise bad_request("Can't parse InputMedia: expected an Object")
    kind = str(item.get("type"))
    if kind not in _KINDS:
        raise bad_request(
            f"Can't parse InputMedia: type \"{kind}\" can't be used in sendMediaGroup"
        )
    source = rules.media(parameters | {kind: item.get("media")}, kind)
    return attachments.sent_file(kind, source, item) | text_rules.caption(item)
