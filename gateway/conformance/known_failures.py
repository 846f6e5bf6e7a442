"""The file of known failures: rules that a service does not pass yet."""

from pathlib import Path
from typing import NamedTuple

from gateway.domain.errors import ConfigurationError


class KnownFailure(NamedTuple):
    """A rule that a route, or a service, is known not to pass.

    Attributes:
        rule: the name of the rule.
        subject: the rpc and the trigger of the route, such as "GetProfile /profile"; or
            the name of the service, for a rule about services.
    """

    rule: str
    subject: str


def read_known_failures(path: Path, rules: frozenset[str]) -> frozenset[KnownFailure]:
    """Read a file with a rule and a route, or a service, in every line.

    Text from a # on is a comment.

    Args:
        path: the file.
        rules: the names of the rules that exist. Another name is an error.

    Raises:
        ConfigurationError: the file cannot be read, or a line is invalid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: is not UTF-8"]) from None
    found, problems = set(), []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split(maxsplit=1)
        if not words:
            continue
        rule, subject = words[0], words[1].strip() if len(words) > 1 else ""
        if rule not in rules:
            problems.append(f"{path}: line {number}: there is no rule {rule!r}")
        elif not subject:
            problems.append(f"{path}: line {number}: a route or a service is missing")
        found.add(KnownFailure(rule, subject))
    if problems:
        raise ConfigurationError(problems)
    return frozenset(found)
