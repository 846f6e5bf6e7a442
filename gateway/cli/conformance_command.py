"""The options of `telegram-gateway conformance`."""

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--service",
    "own",
    multiple=True,
    metavar="NAME=HOST:PORT",
    help="A running service to examine; may be repeated.",
)
@click.option(
    "--run",
    "commands",
    multiple=True,
    metavar="NAME[@FOLDER]=COMMAND",
    help="Start a service in a folder, to listen on the port PORT, and examine it; may"
    " be repeated.",
)
@click.option(
    "--contracts",
    multiple=True,
    metavar="FILE",
    help="A set, a folder or builtin; may be repeated.  [default: CONTRACTS]",
)
@click.option(
    "--value",
    "values",
    multiple=True,
    metavar="FIELD=VALUE",
    help="The value of a field in requests, such as an id that exists.",
)
@click.option(
    "--known-failures", type=Path, metavar="FILE", help="Rules known to fail."
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Deadline of a call in seconds.",
)
@click.option(
    "--stream-timeout",
    "stream_seconds",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    help="Deadline of a call with a streamed response.",
)
@click.option("--tls", is_flag=True, help="Call the services over TLS.")
@click.option("--ca", type=Path, metavar="FILE", help="Authorities, for --tls.")
@click.option("--certificate", type=Path, metavar="FILE", help="For mutual TLS.")
@click.option("--key", type=Path, metavar="FILE", help="The key of --certificate.")
@click.option("--json", type=Path, metavar="FILE", help="Write a report as JSON.")
@click.option("--junit", type=Path, metavar="FILE", help="Write a report as JUnit XML.")
@click.option("--list", "is_list", is_flag=True, help="Print the rules.")
def conformance(  # noqa: PLR0913 - one parameter per option
    *,
    own: tuple[str, ...],
    commands: tuple[str, ...],
    contracts: tuple[str, ...],
    values: tuple[str, ...],
    known_failures: Path | None,
    seconds: float,
    stream_seconds: float,
    tls: bool,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    json: Path | None,
    junit: Path | None,
    is_list: bool,
) -> None:
    """Examine whether running services keep the rules of the gateway.

    The rpcs are called many times for made-up users, so use a test environment. The
    exit code is 1 if a rule fails that is not in the file of known failures.
    """
    from gateway.cli.conformance import print_rules, run_conformance
    from gateway.services.channels import TlsFiles

    if is_list:
        print_rules()
        return
    if not own and not commands:
        raise click.UsageError("Name a service: --service NAME=HOST:PORT.")
    files = TlsFiles(ca_file=ca, certificate_file=certificate, key_file=key)
    sys.exit(
        run_conformance(
            own,
            commands,
            contracts,
            values,
            files if tls else None,
            known_failures=known_failures,
            seconds=(seconds, stream_seconds),
            reports={"json": json, "junit": junit},
        )
    )
