"""Writes the tables of `docs/reference/` from the code, as a part of `make docs`.

A table stands between two comments in a page, which name it.
`tests/integration/repository/test_docs.py` fails if a table differs from the code.
Everything that this module does not understand is an error: an entry that is silently
missing would not be noticed.
"""

import ast
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from pydantic.fields import FieldInfo

from gateway.cli.main import cli
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.services.diagnosis.problems import ServiceProblem

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"
SOURCE = ROOT / "gateway"
_BLOCK = r"(<!-- generated: {name} -->\n).*?(<!-- end of {name} -->)"
_LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


class Module(NamedTuple):
    """A module of the gateway."""

    name: str
    tree: ast.Module


def read_modules(folder: Path = SOURCE) -> Iterator[Module]:
    """Read the modules of production in a folder: all but those of the sandbox."""
    for path in sorted(folder.rglob("*.py")):
        if not path.is_relative_to(SOURCE / "sandbox"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield Module(name, ast.parse(path.read_text()))


def replace_blocks(text: str, tables: dict[str, str]) -> str:
    """Return a page with these tables in the places of the present ones."""
    for name, table in tables.items():
        pattern = re.compile(_BLOCK.format(name=name), re.DOTALL)
        assert len(pattern.findall(text)) == 1, f"no place for {name}"
        text = pattern.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)  # noqa: B023 - called at once
    return text


def build_pages() -> dict[Path, str]:
    """Return the pages with tables, as they have to be."""
    tables: dict[str, Callable[[], str]] = {
        "settings": build_settings,
        "command-line": build_command_line,
        "metrics": build_metrics,
        "log-events": build_log_events,
        "service-problems": build_service_problems,
    }
    return {
        path: replace_blocks(path.read_text(), {name: build()})
        for name, build in tables.items()
        for path in [PAGES / f"{name}.md"]
    }


# Settings: `.env.example` has the meaning and the default of each, which
# `tests/unit/config/test_settings.py` compares with the code; the code has the limits.


class _Group(NamedTuple):
    """Settings that share an explanation in `.env.example`."""

    meaning: str
    lines: list[str]


def build_settings() -> str:
    """Build the tables of the settings, one for each section of `.env.example`."""
    text = (ROOT / ".env.example").read_text()
    parts = re.split(r"^# --- (.+?) -+$", text, flags=re.MULTILINE)
    sections = zip(parts[1::2], parts[2::2], strict=True)
    return "\n\n".join(_build_section(title, body) for title, body in sections)


def _build_section(title: str, body: str) -> str:
    groups = [_read_group(it) for it in re.split(r"\n\s*\n", body) if it.strip()]
    rows = ["| Setting | Default | Accepts | Meaning |", "| --- | --- | --- | --- |"]
    for group in groups:
        for position, line in enumerate(group.lines):
            name, _, default = line.lstrip("#").partition("=")
            shown = _show_default(line, name, default)
            is_first = position == 0 and bool(group.meaning)
            meaning = group.meaning if is_first else "see above"
            rows.append(f"| `{name}` | {shown} | {_describe(name)} | {meaning} |")
    intro = [group.meaning for group in groups if not group.lines]
    return "\n\n".join([f"## {title}", *intro, "\n".join(rows)])


def _show_default(line: str, name: str, default: str) -> str:
    if not line.startswith("#"):
        return "required"
    field = Settings.model_fields.get(name.lower())
    if default and field is not None and field.default is None:
        return f"none; such as `{default}`"
    return f"`{default}`" if default else "none"


def _read_group(paragraph: str) -> _Group:
    words, lines = [], []
    for line in paragraph.splitlines():
        if re.match(r"#?[A-Z_]+=", line):
            lines.append(line)
        else:
            words.append(line.removeprefix("#").strip())
    meaning = " ".join(words).strip().replace("|", "\\|").replace("<", "&lt;")
    return _Group(meaning, lines)


def _describe(name: str) -> str:
    """Describe the values that a setting takes."""
    field = Settings.model_fields.get(name.lower())
    if field is None:
        part = next(it for it in ServiceSettings.model_fields if _ends(name, it))
        field = ServiceSettings.model_fields[part]
    kind = re.sub(r"typing\.|pathlib\.", "", _name_type(field.annotation))
    return ", ".join([kind, *_list_limits(field)])


def _ends(name: str, field: str) -> bool:
    return re.fullmatch(rf"[A-Z]+_{field.upper()}", name) is not None


def _name_type(annotation: Any) -> str:  # noqa: ANN401 - any type
    words = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
    }
    if annotation in words:
        return words[annotation]
    text = str(annotation)
    if "Literal" in text:
        return ", ".join(f"`{it}`" for it in annotation.__args__)
    for part, word in (
        ("Secret", "secret"),
        ("Url", "URL"),
        ("str", "text"),
        ("int", "whole number"),
    ):
        if part in text:
            return word
    assert "Path" in text, text
    return "path"


def _list_limits(field: FieldInfo) -> list[str]:
    limits = []
    for limit in _flatten(field.metadata):
        for attribute, word in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            value = getattr(limit, attribute, None)
            if isinstance(value, int | float):
                limits.append(f"{word} {value:,.10g}")
    return limits


def _flatten(metadata: list[Any]) -> Iterator[Any]:
    for it in metadata:
        if isinstance(it, FieldInfo):
            yield from it.metadata
        else:
            yield it


# The command line: the help of each command, as it prints it.


def build_command_line() -> str:
    """Build the list of all commands and their help."""
    return "\n\n".join(_build_commands(cli, "telegram-gateway", None))


def _build_commands(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[str]:
    context = click.Context(
        command,
        info_name=name.rpartition(" ")[2],
        parent=parent,
        terminal_width=88,
        max_content_width=88,
        help_option_names=["-h", "--help"],
    )
    yield f"## `{name}`\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for word, child in command.commands.items():
            if not child.hidden:
                yield from _build_commands(child, f"{name} {word}", context)


# Metrics: every call that makes one.


class MetricRow(NamedTuple):
    """A metric as Prometheus sees it."""

    name: str
    kind: str
    labels: str
    meaning: str


_MAKERS = {
    "add_gauge": "gauge",
    "add_counter": "counter",
    "add_labelled_counter": "counter",
    "add_labelled_gauge": "gauge",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "add_histogram": "histogram",
    "HistogramMetricFamily": "histogram",
}


def build_metrics() -> str:
    """Build the table of the metrics."""
    rows = ["| Metric | Type | Labels | Meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{it.name}` | {it.kind} | {it.labels} | {it.meaning} |"
        for it in read_metrics()
    ]
    return "\n".join(rows)


@functools.cache
def read_metrics() -> list[MetricRow]:
    """Read the metrics from the calls that make them."""
    found = {row.name: row for it in read_modules() for row in find_metrics(it.tree)}
    return [found[name] for name in sorted(found)]


def find_metrics(tree: ast.Module) -> Iterator[MetricRow]:
    """Find the metrics that a module makes."""
    for loop in (it for it in ast.walk(tree) if isinstance(it, ast.For)):
        yield from _find_in_loop(loop)
    for call in (it for it in ast.walk(tree) if isinstance(it, ast.Call)):
        kind = _MAKERS.get(_name_of(call.func))
        texts = [_read_text(it) for it in call.args[:2]]
        if kind and len(texts) == 2 and (texts[0] or "").startswith("gateway_"):
            yield _make_row(texts[0] or "", kind, texts[1] or "", _read_labels(call))


def _find_in_loop(loop: ast.For) -> Iterator[MetricRow]:
    """Find what is made in a loop over tuples of a name, a meaning and a function."""
    for call in (it for it in ast.walk(loop) if isinstance(it, ast.Call)):
        kind = _MAKERS.get(_name_of(call.func))
        if not kind or not (call.args and isinstance(call.args[0], ast.JoinedStr)):
            continue
        prefix = _read_text(call.args[0].values[0])
        assert prefix == "gateway_"
        assert isinstance(loop.iter, ast.Tuple)
        for it in loop.iter.elts:
            assert isinstance(it, ast.Tuple)
            name, meaning = (_read_text(part) for part in it.elts[:2])
            assert name
            assert meaning
            yield _make_row(prefix + name, kind, meaning, "")


def _make_row(name: str, kind: str, meaning: str, labels: str) -> MetricRow:
    return MetricRow(
        name + ("_total" if kind == "counter" else ""), kind, labels, meaning
    )


def _read_labels(call: ast.Call) -> str:
    further = [*call.args[2:], *(it.value for it in call.keywords if it.arg in _LABELS)]
    # A part of a list is taken for the whole list.
    further = [it.value if isinstance(it, ast.Subscript) else it for it in further]
    texts = (
        _read_text(part)
        for it in further
        for part in (it.elts if isinstance(it, ast.List) else [it])
    )
    return ", ".join(f"`{text}`" for text in texts if text)


_LABELS = {"labels", "labelnames", "label"}


# Log events: the first argument of every call of a logger.


class LogEvent(NamedTuple):
    """A line of the log."""

    event: str
    level: str
    module: str
    fields: tuple[str, ...]


def build_log_events() -> str:
    """Build the table of the log events."""
    rows = ["| Event | Level | Fields | Logged by |", "| --- | --- | --- | --- |"]
    for it in read_log_events():
        fields = ", ".join(f"`{field}`" for field in it.fields)
        rows.append(f"| `{it.event}` | {it.level} | {fields} | `{it.module}` |")
    return "\n".join(rows)


def read_log_events() -> list[LogEvent]:
    """Read the log events of production, sorted.

    The line of each update, and the line about dropped lines, are written without a
    logger: they are found by the dictionaries that they are made of.
    """
    found = set()
    for module in read_modules():
        found |= set(find_events(module))
    return sorted(found)


def find_events(module: Module) -> Iterator[LogEvent]:
    """Find the events that a module logs."""
    functions = [
        it
        for it in ast.walk(module.tree)
        if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                yield from _read_line(node, module.name)
            if isinstance(node, ast.Call) and _is_logging(node):
                yield from _read_call(node, function, module)


def _is_logging(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _LEVELS | {"log"}
        and "log" in _name_of(function.value).lower()
    )


def _read_line(line: ast.Dict, module: str) -> Iterator[LogEvent]:
    values = {
        _read_text(key): value
        for key, value in zip(line.keys, line.values, strict=True)
        if key is not None
    }
    if {"message", "logger", "level"} <= set(values):
        message, level = _read_text(values["message"]), _read_text(values["level"])
        fields = [it for it in values if it not in {"message", "logger", "level"}]
        if message and level:
            fields = [it for it in fields if it not in {"time", "worker"}]
            yield LogEvent(
                message, level.lower(), module, tuple(it for it in fields if it)
            )


def _read_call(
    call: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef, module: Module
) -> Iterator[LogEvent]:
    assert isinstance(call.func, ast.Attribute)
    level, arguments = call.func.attr, call.args
    if level == "log":
        if isinstance(call.args[0], ast.Starred):
            return  # `RateLimitedLogger` passes on what its callers log
        level, arguments = _name_of(call.args[0]).lower(), call.args[1:]
        level = level if level in _LEVELS else "depends"
    fields = tuple(_read_fields(call))
    for event in _resolve(arguments[0], function, module):
        yield LogEvent(event, level, module.name, fields)


def _read_fields(call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            yield from (it for key in keyword.value.keys if (it := _read_text(key)))
        elif keyword.arg and keyword.arg not in {"extra", "exc_info"}:
            yield keyword.arg


def _resolve(
    argument: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef, module: Module
) -> Iterator[str]:
    """Return the texts that an argument of a call may have."""
    if isinstance(argument, ast.IfExp):
        yield from _resolve(argument.body, function, module)
        yield from _resolve(argument.orelse, function, module)
        return
    if (text := _read_text(argument)) is not None:
        yield text
        return
    # A parameter: what the callers in this module pass for it.
    names = [it.arg for it in (*function.args.args, *function.args.kwonlyargs)]
    where = f"{module.name}:{argument.lineno}"
    assert isinstance(argument, ast.Name), f"{where}: not a text"
    if argument.id not in names:
        yield from _resolve_variable(argument.id, function, module)
        return
    position = [it for it in names if it != "self"].index(argument.id)
    texts = [
        text
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call) and _name_of(call.func) == function.name
        for text in _texts_passed(call, position, argument.id)
    ]
    assert texts, f"{where}: no caller passes a text"
    yield from texts


def _resolve_variable(
    name: str, function: ast.FunctionDef | ast.AsyncFunctionDef, module: Module
) -> Iterator[str]:
    values = [
        it.value
        for it in ast.walk(function)
        if isinstance(it, ast.Assign) and _name_of(it.targets[0]) == name
    ]
    assert values, f"{module.name}: what is {name}?"
    for value in values:
        yield from _resolve(value, function, module)


def _texts_passed(call: ast.Call, position: int, name: str) -> Iterator[str]:
    passed = [it.value for it in call.keywords if it.arg == name]
    passed += call.args[position : position + 1]
    yield from (text for it in passed if (text := _read_text(it)))


def build_service_problems() -> str:
    """Build the table of the problems of services."""
    rows = ["| Problem | What is wrong | What to do |", "| --- | --- | --- |"]
    for problem in ServiceProblem:
        wrong, _, remedy = problem.explanation.partition(": ")
        rows.append(f"| `{problem}` | {wrong} | {remedy} |")
    return "\n".join(rows)


# The parts of replies that are left out: what `report_dropped` is called with.


def read_dropped_parts() -> set[str]:
    """Read the codes of dropped parts; `*` stands for a part that is computed."""
    modules = list(read_modules(SOURCE / "telegram"))
    functions: dict[str, list[ast.FunctionDef]] = {}
    for module in modules:
        for it in ast.walk(module.tree):
            if isinstance(it, ast.FunctionDef):
                functions.setdefault(it.name, []).append(it)
    found: set[str] = set()
    for module in modules:
        for call in (it for it in ast.walk(module.tree) if isinstance(it, ast.Call)):
            if _name_of(call.func).lstrip("_") == "report_dropped":
                found |= set(_read_codes(call.args[0], module.tree, functions))
    return found


def _read_codes(
    value: ast.expr, tree: ast.AST, functions: dict[str, list[ast.FunctionDef]]
) -> Iterator[str]:
    """Yield the codes that an expression may have; None stands for no dropped part."""
    if isinstance(value, ast.IfExp):
        yield from _read_codes(value.body, tree, functions)
        yield from _read_codes(value.orelse, tree, functions)
    elif isinstance(value, ast.JoinedStr):
        yield "".join(_read_text(it) or "*" for it in value.values)
    elif isinstance(value, ast.Call):
        for function in functions[_name_of(value.func)]:
            for it in ast.walk(function):
                if isinstance(it, ast.Return) and it.value is not None:
                    yield from _read_codes(it.value, function, functions)
    elif isinstance(value, ast.Name):
        sources = [
            it.value
            for it in ast.walk(tree)
            if isinstance(it, ast.NamedExpr | ast.Assign)
            and value.id in {_name_of(target) for target in _targets(it)}
        ]
        assert sources, f"what is {value.id}?"
        for source in sources:
            yield from _read_codes(source, tree, functions)
    elif not (isinstance(value, ast.Constant) and value.value is None):
        text = _read_text(value)
        assert text, ast.dump(value)
        yield text


def _targets(assignment: ast.NamedExpr | ast.Assign) -> list[ast.expr]:
    if isinstance(assignment, ast.NamedExpr):
        return [assignment.target]
    return assignment.targets


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _read_text(node: ast.expr | None) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else None  # type: ignore[union-attr]


def main() -> None:
    """Write the tables into their pages."""
    for path, text in build_pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
