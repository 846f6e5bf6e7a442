"""Changes BOTS_FILE, and keeps its comments and everything else as it is.

Each change is made in the text of the file. The changed text is parsed: if it does not
mean what was intended, for example because the file is written in an unusual form,
nothing is written, and the user is told to edit the file by hand.

While a file is changed, other commands that change files of its directory wait. All
functions but `touch` raise ConfigurationError if a file cannot be read or written.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gateway.domain.errors import ConfigurationError

Edit = Callable[[str], str]
"""Returns the changed text of BOTS_FILE for its present text; raises ValueError if the
text has an unusual form."""


def add_entry(path: Path, name: str, fields: Mapping[str, Any]) -> None:
    """Add the entry of a bot. If the file is missing, it is created.

    Args:
        path: BOTS_FILE.
        name: the name of the bot.
        fields: the fields of the entry, by name. They are not checked.

    Raises:
        ConfigurationError: there is an entry with this name, or the file has to be
            edited by hand.
    """

    def change(bots: dict[str, Any]) -> None:
        if name in bots:
            raise ConfigurationError([f"{path.name}: there is a bot {name} already"])
        bots[name] = dict(fields)

    def edit(text: str) -> str:
        # A gateway that changes no BOTS_FILE does not import YAML.
        import yaml  # noqa: PLC0415

        block = yaml.safe_dump({name: dict(fields)}, sort_keys=False)
        indent = _find_indent(text)
        lines = "".join(f"{indent}{line}\n" for line in block.splitlines())
        return f"{text.rstrip()}\n{lines}"

    with _locked(path):
        if not path.exists():
            _replace(path, "bots:\n")
        _edit(path, change, edit)


def remove_entry(path: Path, name: str, *, is_trial: bool = False) -> None:
    """Remove the entry of a bot.

    Args:
        path: BOTS_FILE.
        name: the name of the bot.
        is_trial: True to only check that the entry can be removed; False to remove it.

    Raises:
        ConfigurationError: there is no such entry, there is no other one, or the file
            has to be edited by hand.
    """

    def change(bots: dict[str, Any]) -> None:
        del bots[name]
        if not bots:
            raise ConfigurationError(
                [f"{path.name}: {name} is the only bot, and a gateway needs one"]
            )

    with _locked(path):
        text = _change_text(path, change, partial(_cut, name=name))
        if not is_trial:
            _replace(path, text)


def withdraw_entry(path: Path, name: str) -> None:
    """Remove the entry of a bot that was just added.

    If it is the only entry, the file is deleted.

    Raises:
        ConfigurationError: there is no such entry, or the file has to be edited by
            hand.
    """

    def change(bots: dict[str, Any]) -> None:
        del bots[name]

    with _locked(path):
        text = _change_text(path, change, partial(_cut, name=name))
        if text.strip() == "bots:":
            path.unlink(missing_ok=True)
        else:
            _replace(path, text)


def set_paused(path: Path, name: str, *, is_paused: bool) -> None:
    """Set or remove `paused: true` in the entry of a bot.

    Args:
        path: BOTS_FILE.
        name: the name of the bot.
        is_paused: True to pause the bot, False to resume it.

    Raises:
        ConfigurationError: there is no such entry, or the file has to be edited by
            hand.
    """

    def change(bots: dict[str, Any]) -> None:
        fields = bots[name]
        fields.pop("paused", None)
        if is_paused:
            fields["paused"] = True

    def edit(text: str) -> str:
        before, block, after = _split(text, name)
        head, *lines = block.splitlines(keepends=True)
        lines = [line for line in lines if not re.match(r"\s*paused\s*:", line)]
        if is_paused:
            first = next((it for it in lines if it.strip()[:1] not in {"", "#"}), "")
            indent = first[: len(first) - len(first.lstrip())]
            lines.insert(0, f"{indent}paused: true\n")
        return before + head + "".join(lines) + after

    with _locked(path):
        _edit(path, change, edit)


def write_secret_file(path: Path, value: str) -> None:
    """Write a token or a secret into a file.

    No reader sees a part of it. A new file is readable by its owner only; an existing
    one keeps its permissions and its owner.
    """
    with _locked(path):
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        _replace(path, f"{value}\n", mode)


def delete_secret_file(path: Path, value: str) -> None:
    """Delete the file with a secret, unless it is missing or has another secret by now.

    Args:
        path: the file.
        value: the secret that it should have.

    Raises:
        ConfigurationError: the file cannot be read or deleted.
    """
    with _locked(path):
        try:
            if path.read_text(encoding="utf-8").strip() == value:
                path.unlink()
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", "is not UTF-8")
            raise ConfigurationError([f"{path}: {problem}"]) from None


def touch(path: Path) -> None:
    """Set the time of BOTS_FILE to now, so that all gateways read it again.

    They then also read the files that it refers to, such as those of tokens.
    """
    os.utime(path)


def _cut(text: str, name: str) -> str:
    before, _, after = _split(text, name)
    return before + after


def _edit(path: Path, change: Callable[[dict[str, Any]], None], edit: Edit) -> None:
    """Change the text of a file, if that changes its meaning as intended."""
    _replace(path, _change_text(path, change, edit))


def _change_text(
    path: Path, change: Callable[[dict[str, Any]], None], edit: Edit
) -> str:
    """Return the changed text of a file, if its meaning changes as intended."""
    # As above.
    import yaml  # noqa: PLC0415

    from gateway.config.yaml_file import read_yaml  # noqa: PLC0415

    problems: list[str] = []
    document = read_yaml(path, problems)
    if problems:
        raise ConfigurationError(problems)
    bots = document.get("bots") if isinstance(document, dict) else None
    intended = dict(bots) if isinstance(bots, dict) else {}
    by_hand = ConfigurationError(
        [f"{path.name}: is not written in the usual form; edit it by hand"]
    )
    try:
        change(intended)
        text = edit(path.read_text(encoding="utf-8"))
        changed = yaml.safe_load(text)
    except KeyError as error:
        raise ConfigurationError(
            [f"{path.name}: there is no bot {error.args[0]}"]
        ) from None
    except (AttributeError, ValueError, yaml.YAMLError):
        raise by_hand from None
    if changed != {"bots": intended or None}:
        raise by_hand
    return text


def _find_indent(text: str) -> str:
    """Return the indent of the names of bots."""
    found = re.search(r"^( +)\S+:\s*(#.*)?$", text, re.MULTILINE)
    return found[1] if found else "  "


def _split(text: str, name: str) -> tuple[str, str, str]:
    """Split a text into what is before an entry, the entry, and what is after it.

    Raises:
        ValueError: the entry is not a block.
    """
    lines = text.splitlines(keepends=True)
    start = next(
        (
            number
            for number, line in enumerate(lines)
            if re.match(rf"\s+(['\"]?){re.escape(name)}\1\s*:\s*(#.*)?$", line)
        ),
        None,
    )
    if start is None:
        raise ValueError("the entry is not a block")
    indent = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        if line.strip():
            end = number + 1
    return "".join(lines[:start]), "".join(lines[start:end]), "".join(lines[end:])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other commands from changing the file inside the block."""
    try:
        directory = os.open(path.absolute().parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError([f"{path.parent}: {error.strerror}"]) from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _keep_owner(descriptor: int, path: Path) -> None:
    """Give a new file the owner of the one that it replaces, or of its directory.

    Otherwise a gateway of another user could not read what its operator wrote.
    """
    owner = (path if path.exists() else path.parent).stat()
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (owner.st_uid, owner.st_gid):
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _replace(path: Path, text: str, mode: int | None = None) -> None:
    """Write a file at once, so that no reader sees a part of it."""
    path = path.resolve()
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            _keep_owner(descriptor, path)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise ConfigurationError([f"{path}: {error.strerror}"]) from None
