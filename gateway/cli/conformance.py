"""`telegram-gateway conformance`: examines running services."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from gateway.cli.routes import load_route_table
from gateway.conformance.known_failures import read_known_failures
from gateway.conformance.report import (
    RuleResult,
    format_json,
    format_junit,
    format_lines,
    has_failed,
)
from gateway.conformance.runner import ALL_RULES, ConformanceRun
from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher.own_services import (
    OwnService,
    add_targets,
    read_commands,
    running_services,
)
from gateway.sandbox.launcher.service_targets import read_targets
from gateway.sandbox.launcher.subprocesses import ProcessExited, Subprocesses
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.contracts.sources import load_contracts
from gateway.services.routing.route_table import RouteTable, combine_contracts

_STANDARD_ERROR = 2
"""Output of the services: standard output is only for what was found."""


def run_conformance(
    own: Sequence[str],
    given_commands: Sequence[str],
    contracts: Sequence[str],
    values: Sequence[str],
    tls: TlsFiles | None,
    *,
    known_failures: Path | None,
    seconds: tuple[float, float],
    reports: Mapping[str, Path | None],
) -> int:
    """Examine services, print and write the results, and return the exit code.

    Args:
        own: the addresses of running services, such as "billing=localhost:50051".
        given_commands: commands that start services, such as "billing=node a.js". They
            run until the end of the examination.
        contracts: sources of contracts; empty for those of the setting CONTRACTS.
        values: values for request fields, such as "invoice_id=7".
        tls: the TLS files; None to call the services without TLS.
        known_failures: the file of known failures; None if there is none.
        seconds: the deadline of a call, and that of a call with a streamed response.
        reports: the file to write for each format, "json" and "junit"; None to write
            none.

    Returns:
        1 if a rule fails that is not known to fail, or if a service that was started
        ends; otherwise 0.

    Raises:
        ConfigurationError: an argument, a file or a contract is invalid.
    """
    table = _load_table(contracts)
    commands = read_commands(given_commands, table.service_names)
    targets = add_targets(commands, read_targets(own, table.service_names))
    rules = frozenset(rule.name for rule in ALL_RULES)
    run = ConformanceRun(
        table=table,
        channels=ServiceChannels(targets, tls),
        values=_read_values(values, table),
        known_failures=read_known_failures(known_failures, rules)
        if known_failures
        else frozenset(),
        seconds=seconds[0],
        stream_seconds=seconds[1],
    )
    for path in reports.values():
        if path and not path.absolute().parent.is_dir():
            raise ConfigurationError([f"{path}: there is no such directory"])
    try:
        results = asyncio.run(_examine(run, commands, targets))
    except ProcessExited as error:
        click.echo(f"telegram-gateway: {error}", err=True)
        return 1
    for line in format_lines(results):
        click.echo(line)
    for report, path in reports.items():
        if path:
            write = format_json if report == "json" else format_junit
            path.write_bytes(write(results))
    return 1 if has_failed(results) else 0


def print_rules() -> None:
    """Print the name of each rule, and what it demands."""
    width = max(len(rule.name) for rule in ALL_RULES)
    for rule in ALL_RULES:
        click.echo(f"{rule.name:{width}}  {rule.meaning}")


async def _examine(
    run: ConformanceRun,
    commands: Sequence[OwnService],
    targets: Mapping[str, str],
) -> list[RuleResult]:
    """Start services, and examine all of them.

    Raises:
        ProcessExited: a service did not start, or ended.
    """
    children = Subprocesses(_STANDARD_ERROR)
    async with running_services(children, commands, targets, watch=False, wait=True):
        return await children.run_during(_collect(run))


async def _collect(run: ConformanceRun) -> list[RuleResult]:
    return [result async for result in run.iter_results()]


def _load_table(contracts: Sequence[str]) -> RouteTable:
    if not contracts:
        return load_route_table()
    return combine_contracts(load_contracts(contracts))


def _read_values(given: Iterable[str], table: RouteTable) -> dict[str, str]:
    values: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise ConfigurationError([f"--value {each}: should be FIELD=VALUE"])
        if not _is_valid(name, value, table):
            raise ConfigurationError([f"--value {each}: no route reads such a value"])
        values[name] = value
    return values


def _is_valid(name: str, value: str, table: RouteTable) -> bool:
    """Return whether a value is valid for every field with a name, and there is one."""
    converters = [
        convert
        for route in table.routes
        for field, convert in route.variables
        if field == name
    ]
    try:
        for convert in converters:
            convert(value)
    except ValueError:
        return False
    return bool(converters)
