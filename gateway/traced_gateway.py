"""A gateway that reports how each update is processed.

python -m gateway.traced_gateway

`telegram-gateway sandbox` and `dev` start it instead of `telegram-gateway serve`, which
has no tracing.
"""

import sys
from pathlib import Path

import click

from gateway.cli import main
from gateway.cli.serve import run_gateway
from gateway.config.settings import Settings
from gateway.sandbox.tracing.instrumentation import TracingInstrumentation
from gateway.sandbox.tracing.tracer import Tracer


@click.command()
@click.option("--worker", type=Path, hidden=True)
@click.option("--turns-url", envvar="SANDBOX_TURNS_URL", required=True)
@click.option("--turns-key", envvar="SANDBOX_TURNS_KEY", required=True)
@click.option("--real-bot", envvar="SANDBOX_REAL_BOT", is_flag=True)
@click.option("--take-over", is_flag=True)
def traced(
    worker: Path | None,
    turns_url: str,
    turns_key: str,
    *,
    real_bot: bool,
    take_over: bool,
) -> None:
    """Run the gateway, and post a trace of the processing of each update to a URL."""

    def trace(settings: Settings) -> TracingInstrumentation:
        tracer = Tracer(turns_url, turns_key, settings.api_url, of_real_bot=real_bot)
        return TracingInstrumentation(tracer, loopback_only=not real_bot)

    program = ("gateway.traced_gateway",)
    sys.exit(run_gateway(None, worker, trace, program, take_over=take_over))


if __name__ == "__main__":
    main.run(traced)
