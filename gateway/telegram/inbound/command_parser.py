"""Text that is a command."""

import re

_COMMAND = re.compile(
    r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?", re.DOTALL
)


def parse_command(text: str) -> tuple[str, str, str]:
    """Split "/name@bot arguments"; three empty strings for text that is no command."""
    match = _COMMAND.fullmatch(text) if text.startswith("/") else None
    if match is None:
        return "", "", ""
    name, bot, arguments = match.groups("")
    return name.lower(), bot, arguments.strip()
