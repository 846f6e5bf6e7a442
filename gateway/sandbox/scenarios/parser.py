"""Parses scenario files and collects all problems in them."""

import difflib
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode

from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher.gateway_bots import NAME, NAME_RULE
from gateway.sandbox.scenarios.scenario import Scenario, Step, User
from gateway.sandbox.scenarios.steps import GLOBAL_STEPS, USER_STEPS, duration
from gateway.sandbox.scenarios.yaml_loader import YamlDocument, line
from gateway.sandbox.simulator.state.users import MAX_USER_ID

DEFAULT_TIMEOUT_SECONDS = 5.0
"""Default timeout of a step."""
DEFAULT_PACE_SECONDS = 1.0
"""Default pause between two actions of a user: the gateway serves one a second."""

_FIELDS = ("name", "users", "bots", "timeout", "pace", "steps")
_NAME = re.compile(r"[^\W\d_][\w-]{0,63}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def read_scenarios(paths: Iterable[Path]) -> list[Scenario]:
    """Read and parse scenario files.

    Raises:
        ConfigurationError: a file cannot be read or is invalid; the error has the
            problems of all files.
    """
    scenarios = []
    faults: list[str] = []
    for path in paths:
        try:
            scenarios.append(read_scenario(str(path), path.read_text("utf-8")))
        except OSError as error:
            faults.append(f"{path}: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"{path}: is not UTF-8")
        except ConfigurationError as error:
            faults += error.problems
    if faults:
        raise ConfigurationError(faults)
    return scenarios


def read_scenario(path: str, text: str) -> Scenario:
    """Parse the text of a scenario file.

    Args:
        path: the path of the file, for messages and reports. It is not read.
        text: the content of the file.

    Raises:
        ConfigurationError: the file is invalid; the error has all of its problems.
    """
    document = YamlDocument(path)
    root = document.compose(text)
    fields = document.pairs(root)
    for name, (key, _) in fields.items():
        if name not in _FIELDS:
            document.fault(key, f"{name} is none of {', '.join(_FIELDS)}")
    nodes = {name: value for name, (_, value) in fields.items()}
    within = _seconds(document, nodes.get("timeout"), DEFAULT_TIMEOUT_SECONDS)
    pace = _seconds(document, nodes.get("pace"), DEFAULT_PACE_SECONDS)
    users = _users(document, nodes.get("users"))
    names = [user.name for user in users]
    bots = _bots(document, nodes.get("bots"))
    items = document.items(nodes.get("steps"), "steps")
    steps = [_step(document, item, names, bots, within) for item in items]
    title = document.read(nodes.get("name"), lambda given: given or Path(path).stem)
    if document.faults:
        raise ConfigurationError(document.faults)
    return Scenario(
        path=path,
        name=title or "",
        users=tuple(users),
        bots=tuple(bots),
        pace=pace,
        steps=tuple(step for step in steps if step),
    )


def _seconds(document: YamlDocument, node: Node | None, default: float) -> float:
    read = document.read(node, duration) if node else default
    return default if read is None else read


def _users(document: YamlDocument, node: Node | None) -> list[User]:
    """Parse a list of names, or a map of names to ids or to id and language."""
    users: list[User] = []
    if isinstance(node, MappingNode):
        for name, (key, value) in document.pairs(node).items():
            users.append(_user(document, key, name, value))
    else:
        for item in document.items(node, "users"):
            name = document.read(item, lambda given: given or "") or ""
            users.append(_user(document, item, name, None))
    names = [user.name for user in users]
    ids = [user.id for user in users if user.id is not None]
    if len({*names}) < len(names) or len({*ids}) < len(ids):
        document.fault(node, "users: each one needs a name and an id of their own")
    return users


def _bots(document: YamlDocument, node: Node | None) -> list[str]:
    """Parse the list of the usernames of bots; none is the one of the sandbox."""
    if node is None:
        return []
    items = document.items(node, "bots")
    names = [name for item in items if (name := document.read(item, _bot_name))]
    if len({*names}) < len(names):
        document.fault(node, "bots: each one needs a name of its own")
    return names


def _bot_name(given: str | None) -> str:
    if given is None or not NAME.fullmatch(given):
        raise ValueError(NAME_RULE)
    return given


def _user(document: YamlDocument, key: Node, name: str, value: Node | None) -> User:
    if not _NAME.fullmatch(name) or name in {each.split()[0] for each in GLOBAL_STEPS}:
        document.fault(key, f"`{name}` is no name for a user: it is one word")
    if not isinstance(value, MappingNode):
        return User(name, document.read(value, _id))
    fields = {each: node for each, (_, node) in document.pairs(value).items()}
    if not fields.keys() <= {"id", "language"}:
        document.fault(value, "a user has an id and a language")
    language = document.read(fields.get("language"), _language)
    return User(name, document.read(fields.get("id"), _id), language or "en")


def _id(given: str | None) -> int | None:
    if given is None:
        return None
    if not re.fullmatch("[0-9]{1,16}", given) or not 0 < int(given) <= MAX_USER_ID:
        raise ValueError("a user's id is a number of at most 52 bits")
    return int(given)


def _language(given: str | None) -> str:
    if given is None or not _LANGUAGE.fullmatch(given):
        raise ValueError("a language is a tag such as en or pt-br")
    return given


def _step(
    document: YamlDocument,
    node: Node,
    users: Collection[str],
    bots: Collection[str],
    within: float,
) -> Step | None:
    """Parse a step such as `ada says: hello`.

    It may have `within: 10s` and, if there are several bots, it has `bot: NAME`.
    """
    value: Node | None = None
    key = node
    bot = ""
    if not isinstance(node, ScalarNode):
        fields = document.pairs(node)
        _, limit = fields.pop("within", (None, None))
        within = _seconds(document, limit, within)
        _, named = fields.pop("bot", (None, None))
        bot = document.read(named, _bot_name) or "" if named else ""
        if len(fields) != 1:
            document.fault(node, "a step is one line, and perhaps `within: 10s`")
            return None
        ((key, value),) = fields.values()
    phrase = " ".join(str(key.value).split())
    user, _, rest = (
        ("", "", phrase) if phrase in GLOBAL_STEPS else phrase.partition(" ")
    )
    verb = (USER_STEPS if user else GLOBAL_STEPS).get(rest)
    if user and user not in users and verb:
        document.fault(key, f"{user} is none of the users")
        return None
    if not verb:
        document.fault(key, f"there is no step `{phrase}`{_hint(phrase, users)}")
        return None
    if problem := _bot_problem(bot, bots, has_user=bool(user)):
        document.fault(key, problem)
        return None
    act = document.read(value, verb)
    if not act:
        return None
    words = (
        phrase if value is None else f"{phrase}: {' '.join(str(value.value).split())}"
    )
    if bot:
        words = f"{words} (@{bot})"
    return Step(line=line(key), words=words, user=user, act=act, within=within, bot=bot)


def _bot_problem(bot: str, bots: Collection[str], *, has_user: bool) -> str:
    """Return what is wrong with the bot of a step, or an empty string."""
    if bot and not has_user:
        return "only a step of a user has a bot"
    if bot and bot not in bots:
        return f"{bot} is none of the bots"
    if has_user and not bot and len(bots) > 1:
        return f"needs one of the bots, such as `bot: {next(iter(bots))}`"
    return ""


def _hint(phrase: str, users: Collection[str]) -> str:
    """Return the closest known step, or all of them."""
    known = [f"{user} {verb}" for user in users for verb in USER_STEPS] + list(
        GLOBAL_STEPS
    )
    close = difflib.get_close_matches(phrase, known, 1)
    if close:
        return f"; is it `{close[0]}`?"
    return f"; there are NAME {', NAME '.join(USER_STEPS)}, {', '.join(GLOBAL_STEPS)}"
