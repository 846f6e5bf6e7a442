"""The commands and options of `telegram-gateway contracts`."""

import sys
from pathlib import Path

import click


@click.group()
def contracts() -> None:
    """Check, compare, export or import contracts, or serve earlier ones.

    Only history and rollback need the settings of a gateway.
    """


@contracts.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="FILE",
    help="Contracts that are served beside them: a set, a folder or builtin.",
)
@click.option("--strict", is_flag=True, help="End with 1 if there are warnings.")
def check(files: tuple[str, ...], others: tuple[str, ...], *, strict: bool) -> None:
    """Check descriptor sets as the gateway does, and print their routes.

    The exit code is 2 if the gateway would not start with them.
    """
    from gateway.cli.contracts import check_contracts

    sys.exit(check_contracts(files, others, strict=strict))


@contracts.command("diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
def diff(old: str, new: str) -> None:
    """Print what NEW adds to the routes of OLD, removes and changes.

    OLD and NEW are sets, folders or builtin. The exit code is 1 if triggers are gone or
    fields have other numbers, because old buttons or running servers rely on them.
    """
    from gateway.cli.contracts import print_diff

    sys.exit(print_diff(old, new))


@contracts.command("export")
@click.argument("directory", metavar="DIR", type=Path)
def export(directory: Path) -> None:
    """Write the protos that contracts import into a directory."""
    from gateway.cli.contracts import export_protos

    export_protos(directory)


@contracts.command("import")
@click.option(
    "--reflect",
    "target",
    required=True,
    metavar="HOST:PORT",
    help="A running server with gRPC's reflection.",
)
@click.option("-o", "--output", required=True, type=Path, metavar="FILE")
@click.option("--tls", is_flag=True, help="Connect by TLS.")
@click.option("--ca-file", type=Path, metavar="FILE", help="The authority for TLS.")
def import_set(target: str, output: Path, *, tls: bool, ca_file: Path | None) -> None:
    """Write the descriptor set of a running server.

    It is an error if the server has lost the options that are the routes.
    """
    from gateway.cli.contracts import import_contracts

    import_contracts(target, output, uses_tls=tls or bool(ca_file), ca_file=ca_file)


@contracts.command("apply")
@click.argument("files", nargs=-1, required=True, type=Path, metavar="FILE...")
@click.option(
    "--to",
    "directory",
    required=True,
    type=Path,
    metavar="DIR",
    help="A folder of CONTRACTS.",
)
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="FILE",
    help="Contracts outside of the folder: a set, another folder or builtin.",
)
@click.option("--allow-removal", is_flag=True, help="Permit that triggers disappear.")
def apply_sets(
    files: tuple[Path, ...],
    directory: Path,
    others: tuple[str, ...],
    *,
    allow_removal: bool,
) -> None:
    """Copy descriptor sets into the folder of running gateways.

    The sets are checked together with those in the folder before anything is written.
    Gateways take them up within a second.
    """
    from gateway.cli.contracts import apply_contracts

    apply_contracts(files, directory, others, allow_removal=allow_removal)


@contracts.command("history")
def history() -> None:
    """List the contracts that gateways accepted, the served ones first."""
    from gateway.cli.contract_history import print_history

    print_history()


@contracts.command("rollback")
@click.argument("number", required=False, type=int, metavar="[N]")
def rollback(number: int | None) -> None:
    """Serve the contracts of generation N again, or those before the present ones.

    All gateways with the same Redis take them up within a second. They ignore the files
    that they served until then, even after a restart.
    """
    from gateway.cli.contract_history import roll_back

    roll_back(number)
