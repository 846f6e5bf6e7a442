"""Templates of commands and callback data, parsed once at start-up.

Matching searches for a few literal texts. No pattern can backtrack, so the time is
linear in the length of the user's text.
"""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gateway.domain.reply_limits import MAX_CALLBACK_DATA_BYTES

# Bot API: BotCommand.command, 1 to 32 characters.
_COMMAND_PATTERN = re.compile(r"/([a-z0-9_]{1,32})")
_VARIABLE_PATTERN = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class CommandTemplate(Struct, frozen=True):
    """The template of a command, such as "/start {payload}".

    Attributes:
        name: the name, without the slash.
        variables: the names of the variables, in order.
    """

    name: str
    variables: tuple[str, ...]

    def parse(self, arguments: str) -> Sequence[str]:
        """Split the arguments of a command into the texts of the variables.

        The last variable gets the rest of the arguments. Missing arguments result in
        fewer texts than variables. Without variables, the arguments are ignored.
        """
        if not self.variables:
            return ()
        return arguments.split(None, len(self.variables) - 1)


class CallbackTemplate(Struct, frozen=True):
    """The template of callback data, such as "CONNECT:{target_user_id}".

    Attributes:
        prefix: the literal text at the start.
        variables: the names of the variables, in order.
        separators: the literal text after each variable. Only the last one may be
            empty; its variable is the rest of the data.
    """

    prefix: str
    variables: tuple[str, ...]
    separators: tuple[str, ...]

    def parse(self, data: str) -> Sequence[str] | None:
        """Split callback data into the texts of the variables.

        Returns:
            The texts in the order of the variables; None if the data does not match.
        """
        if not data.startswith(self.prefix):
            return None
        texts = []
        position = len(self.prefix)
        for separator in self.separators:
            found = data.find(separator, position) if separator else len(data)
            if found < 0:
                return None
            texts.append(data[position:found])
            position = found + len(separator)
        return texts if position == len(data) else None

    def format(self, values: Mapping[str, str]) -> str | None:
        """Return the callback data in which the variables have these texts.

        Args:
            values: the text of each variable, by name.

        Returns:
            The data; None if `values` does not have exactly the template's variables,
            or if a text contains the separator that follows it, so that parsing the
            data would return other texts.
        """
        if values.keys() != set(self.variables):
            return None
        texts = [values[name] for name in self.variables]
        parts = zip(texts, self.separators, strict=True)
        data = self.prefix + "".join(text + separator for text, separator in parts)
        return data if self.parse(data) == texts else None


Template = CommandTemplate | CallbackTemplate


def parse_command_template(text: str) -> CommandTemplate:
    """Parse the template of a command, such as "/start {payload}".

    Raises:
        ValueError: the template is invalid; the message says why.
    """
    name, *words = text.split() or [""]
    if not (command := _COMMAND_PATTERN.fullmatch(name)):
        raise ValueError(f"{text!r} does not start with / and 1 to 32 of a-z, 0-9, _")
    variables = []
    for word in words:
        if not (variable := _VARIABLE_PATTERN.fullmatch(word)):
            raise ValueError(f"{text!r} has {word!r} where a {{variable}} is due")
        variables.append(variable[1])
    return CommandTemplate(command[1], _require_distinct(text, variables))


def parse_callback_template(text: str) -> CallbackTemplate:
    """Parse the template of callback data, such as "CONNECT:{target_user_id}".

    Raises:
        ValueError: the template is invalid; the message says why.
    """
    pieces = _VARIABLE_PATTERN.split(text)
    literals, variables = pieces[::2], pieces[1::2]
    prefix, *separators = literals
    if any("{" in literal or "}" in literal for literal in literals):
        raise ValueError(f"{text!r} has a brace that belongs to no variable")
    if not prefix:
        raise ValueError(f"{text!r} does not start with literal text")
    if "" in separators[:-1]:
        raise ValueError(f"{text!r} has no literal text between two variables")
    if len("".join(literals).encode()) > MAX_CALLBACK_DATA_BYTES:
        raise ValueError(
            f"{text!r} has over {MAX_CALLBACK_DATA_BYTES} bytes of literal text"
        )
    return CallbackTemplate(
        prefix, _require_distinct(text, variables), tuple(separators)
    )


def _require_distinct(text: str, variables: Sequence[str]) -> tuple[str, ...]:
    if len(set(variables)) < len(variables):
        raise ValueError(f"{text!r} has the same variable twice")
    return tuple(variables)
