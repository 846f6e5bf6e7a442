"""The commands that say what is wrong: `check` and `doctor`."""

import sys

import click


@click.command()
@click.option("--strict", is_flag=True, help="End with 1 if there are warnings.")
def check(*, strict: bool) -> None:
    """Check settings, contracts and files without connecting to anything.

    All problems are printed at once. The exit code is 2 if the gateway would not start.
    """
    from gateway.cli.check import check_configuration

    sys.exit(check_configuration(strict=strict))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(*, as_json: bool) -> None:
    """Connect to everything, and say what is wrong and what to do.

    Calls the Bot API, and connects to Redis, the services, the webhook and FILES_URL.
    Nothing is changed. The exit code is 1 if something does not work, and 2 if the
    settings are invalid.
    """
    from gateway.cli.doctor.examination import run_doctor

    sys.exit(run_doctor(as_json=as_json))
