"""The gateway of the sandbox: it tells the sandbox what becomes of each update.

python -m gateway.traced_gateway

The sandbox starts it in place of `telegram-gateway serve`, which has none of this.
"""

import sys
from pathlib import Path

import click

from gateway.cli import main
from gateway.cli.serve import run_gateway
from gateway.config.settings import Settings
from gateway.sandbox.tracing.instrumentation import Tracing
from gateway.sandbox.tracing.tracer import Recorder


@click.command()
@click.option("--worker", type=Path, hidden=True)
@click.option("--turns-url", envvar="SANDBOX_TURNS_URL", required=True)
@click.option("--turns-key", envvar="SANDBOX_TURNS_KEY", required=True)
def traced(worker: Path | None, turns_url: str, turns_key: str) -> None:
    """Run the gateway, and tell an address what becomes of each update."""

    def trace(settings: Settings) -> Tracing:
        return Tracing(Recorder(turns_url, turns_key, settings.api_url))

    sys.exit(run_gateway(None, worker, trace, program=("gateway.traced_gateway",)))


if __name__ == "__main__":
    main.run(traced)
