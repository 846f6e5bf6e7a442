"""`telegram-gateway contracts`: checks, compares, exports and copies contracts."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from gateway.contracts.loading import find_contract_warnings
from gateway.contracts.removals import get_permission_path
from gateway.domain.errors import ConfigurationError
from gateway.services.channels import TlsFiles
from gateway.services.contracts.descriptor_sets import read_descriptor_set
from gateway.services.contracts.exported_protos import read_protos
from gateway.services.contracts.sources import SUFFIXES, load_contracts
from gateway.services.reflection_client import import_contracts as ask_server
from gateway.services.routing.route_table import RouteTable, combine_contracts
from gateway.services.routing.table_diff import compare_tables, list_removed


def check_contracts(
    files: Sequence[str], others: Sequence[str], *, strict: bool
) -> int:
    """Check descriptor sets, print their routes and warnings; return the exit code.

    Args:
        files: the sets, or folders with sets.
        others: sources of contracts that are served together with these sets.
        strict: whether a warning makes the exit code 1; otherwise it is 0.

    Raises:
        ConfigurationError: the gateway would not start with these contracts.
    """
    contracts = load_contracts([*others, *files])
    table = combine_contracts(contracts)
    click.echo("\n".join(table.format_lines()))
    warnings = find_contract_warnings(contracts, table, files)
    for warning in warnings:
        click.echo(f"telegram-gateway: warning: {warning}", err=True)
    return 1 if warnings and strict else 0


def print_diff(old: str, new: str) -> int:
    """Print what the routes of a source add, remove and change; return the exit code.

    Args:
        old: the source to compare with: a file, a folder or "builtin".
        new: the source with the changes.

    Returns:
        1 if the changes break old buttons or running services; otherwise 0.

    Raises:
        ConfigurationError: one of the sources is invalid.
    """
    tables: list[RouteTable] = []
    problems: list[str] = []
    for source in (old, new):
        try:
            tables.append(combine_contracts(load_contracts([source])))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    differences = compare_tables(*tables)
    click.echo("\n".join(differences.format_lines() or ["the routes are the same"]))
    return 1 if differences.is_breaking else 0


def export_protos(directory: Path) -> None:
    """Write the protos that contracts import into a directory, and print their paths.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    for name, content in read_protos().items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise ConfigurationError([f"{path}: {error.strerror}"]) from None
        click.echo(path)


def import_contracts(
    target: str, output: Path, *, uses_tls: bool, ca_file: Path | None
) -> None:
    """Ask a running server for its contracts, and write them as a descriptor set.

    Args:
        target: the server, such as "localhost:50051". It needs gRPC's reflection.
        output: the file to write.
        uses_tls: whether to connect with TLS.
        ca_file: the authority for TLS; None for those of the system.

    Raises:
        ConfigurationError: the server cannot be asked, its routes cannot be served, or
            the file cannot be written.
    """
    tls = TlsFiles(ca_file=ca_file) if uses_tls else None
    content = asyncio.run(ask_server(target, tls)).SerializeToString()
    table = combine_contracts([read_descriptor_set(target, content)])
    _write(output, content)
    click.echo("\n".join(table.format_lines()))


def apply_contracts(
    files: Sequence[Path],
    directory: Path,
    others: Sequence[str],
    *,
    allow_removal: bool,
) -> None:
    """Copy descriptor sets into the folder of running gateways, and print all routes.

    Args:
        files: the files of the sets, which replace files of the same name.
        directory: the folder.
        others: sources of contracts that are served together with those in the folder.
        allow_removal: True to permit that triggers disappear, with a file beside each
            set; False to refuse that.

    Raises:
        ConfigurationError: the gateways would refuse the sets, or a file cannot be
            read; nothing was written. Or a file cannot be written.
    """
    contents = {directory / path.name: _read(path) for path in files}
    suffixes = " or ".join(SUFFIXES)
    unread = [str(it) for it in contents if not it.name.endswith(SUFFIXES)]
    if unread:
        raise ConfigurationError([f"{it}: has no suffix {suffixes}" for it in unread])
    present = [it for it in directory.glob("*") if it.name.endswith(SUFFIXES)]
    kept = [str(it) for it in present if it not in contents]
    new_sets = [read_descriptor_set(str(it), contents[it]) for it in contents]
    before = load_contracts([*others, *map(str, present)])
    after = [*load_contracts([*others, *kept]), *new_sets]
    new_table = combine_contracts(after)
    if before:
        removed = [
            text for text, _ in list_removed(combine_contracts(before), new_table)
        ]
        if removed and not allow_removal:
            raise ConfigurationError(
                [f"{it} would be gone: --allow-removal permits that" for it in removed]
            )
        if removed:
            for path, contract in zip(contents, new_sets, strict=True):
                _write(get_permission_path(path), contract.digest.encode())
    for path, content in contents.items():
        _write(path, content)
    click.echo("\n".join(new_table.format_lines()))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror}"]) from None


def _write(path: Path, content: bytes) -> None:
    """Write a file so that nobody reads a part of it."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror}"]) from None
