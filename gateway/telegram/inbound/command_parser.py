"""Parses bot commands in message texts."""

import re
from typing import NamedTuple

_COMMAND = re.compile(
    r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?", re.DOTALL
)


class ParsedCommand(NamedTuple):
    """The parts of a text such as "/name@bot_username arguments"."""

    name: str
    """The name in lower case."""
    bot_username: str | None
    """The name of a bot, if the command has one."""
    arguments: str
    """The arguments, without surrounding white space."""


def parse_command(text: str) -> ParsedCommand | None:
    """Split the text of a message into the parts of a command.

    Returns:
        The parts; None if the text does not begin with a valid command.
    """
    match = _COMMAND.fullmatch(text) if text.startswith("/") else None
    if match is None:
        return None
    name, bot_username, arguments = match.groups()
    return ParsedCommand(name.lower(), bot_username, (arguments or "").strip())
