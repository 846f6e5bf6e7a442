"""Parses bot commands in message texts."""

import re

_COMMAND = re.compile(
    r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?", re.DOTALL
)


def parse_command(text: str) -> tuple[str, str, str]:
    """Split "/name@bot arguments" into its three parts.

    Returns:
        The name in lower case, the bot's username and the arguments; three empty
        strings if the text is not a command.
    """
    match = _COMMAND.fullmatch(text) if text.startswith("/") else None
    if match is None:
        return "", "", ""
    name, bot, arguments = match.groups("")
    return name.lower(), bot, arguments.strip()
