"""Runs a gateway for a real bot on a developer's machine.

The gateway fetches the updates by long polling, so that the machine needs no public
address. Services that do not run yet are replaced by samples. The settings are those of
`telegram-gateway serve`, from the environment and a file `.env`. A page on loopback,
which this process serves, shows what happens to each update.

Concurrency: one task. It starts the page, the sample services and the gateway and stops
them in reverse; see `subprocesses.py` for how a process ends. The first signal stops
them, the second one kills them.
"""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from secrets import token_urlsafe

import aiohttp

from gateway.background import BackgroundTasks
from gateway.sandbox.launcher.development import Development, check_contracts
from gateway.sandbox.launcher.own_services import running_services
from gateway.sandbox.launcher.service_targets import (
    LOOPBACK,
    accepts_connections,
    port_problem,
)
from gateway.sandbox.launcher.subprocesses import (
    ProcessExited,
    StopRequested,
    Subprocesses,
)
from gateway.sandbox.ui.traffic_page import TrafficPage
from gateway.stop_signals import receive_stop_signals


async def run_dev(
    username: str,
    targets: Mapping[str, str],
    *,
    page_port: int,
    samples_port: int | None,
    operations_url: str,
    arguments: Sequence[str] = (),
    development: Development,
) -> int:
    """Run the gateway, a page and the services until SIGINT, SIGTERM or SIGHUP.

    Args:
        username: the bot's username without the at sign.
        targets: the address of each service, by name.
        page_port: the port of the page.
        samples_port: the port of the sample services; None to start none.
        operations_url: the base URL of the gateway's health endpoints.
        arguments: further command-line arguments of the gateway.
        development: the own services to start, and whether to restart what changes.

    Returns:
        The exit code: 0 after a signal, 1 if a process ended by itself or did not
        start, 2 if a port cannot be used.
    """
    if problem := _find_port_problem(page_port, samples_port):
        sys.stderr.write(f"{problem}\n")
        return 2

    async def is_ready() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{operations_url}/ready") as response,
            ):
                return response.status == 200
        return False

    children = Subprocesses()
    turns_key = token_urlsafe()
    page = TrafficPage(username, turns_key)
    async with (
        BackgroundTasks() as background,
        receive_stop_signals(background, lambda _: children.stop()),
        AsyncExitStack() as stack,
    ):
        try:
            page_url = await stack.enter_async_context(page.serve(LOOPBACK, page_port))
            if samples_port is not None:
                samples = ("gateway.sandbox.samples", "--port", str(samples_port))
                await stack.enter_async_context(
                    children.running(
                        "sample services",
                        samples,
                        os.environ,
                        lambda: accepts_connections(samples_port),
                        files=development.watch_samples(),
                    )
                )
            await stack.enter_async_context(
                running_services(
                    children, development.commands, targets, watch=development.watch
                )
            )
            gateway = ("gateway.traced_gateway", *arguments)
            environment = {
                **os.environ,
                "UPDATES": "poll",
                "WORKERS": "1",  # each worker would report only its part of an update
                "LOG_FORMAT": os.environ.get("LOG_FORMAT", "text"),
                "SANDBOX_TURNS_URL": f"{page_url}/turns",
                "SANDBOX_TURNS_KEY": turns_key,
                "SANDBOX_REAL_BOT": "1",
                **{f"{name}_TARGET": target for name, target in targets.items()},
            }
            await stack.enter_async_context(
                children.running(
                    "gateway",
                    gateway,
                    environment,
                    is_ready,
                    files=development.watch_contracts(),
                    check=partial(check_contracts, environment),
                )
            )
            sys.stdout.write(
                _describe(username, targets, samples_port, page_url, operations_url)
            )
            sys.stdout.flush()
            await children.watch()
        except StopRequested:
            pass
        except ProcessExited as ended:
            sys.stderr.write(f"stopped: {ended}\n")
            return 1
    return 0


def _find_port_problem(page_port: int, samples_port: int | None) -> str:
    """Return which port cannot be used and why, or "" if both can."""
    if samples_port is not None and (problem := port_problem(samples_port)):
        return f"--samples-port {samples_port} cannot be used: {problem}"
    problem = port_problem(page_port)
    return problem and f"--page-port {page_port} cannot be used: {problem}"


def _describe(
    username: str,
    targets: Mapping[str, str],
    samples_port: int | None,
    page_url: str,
    operations_url: str,
) -> str:
    samples = f"{LOOPBACK}:{samples_port}"
    services = "\n".join(
        f"  {name.lower():18} {target}{' (sample)' if target == samples else ''}"
        for name, target in sorted(targets.items())
    )
    return f"""
@{username} is answered here. Ctrl-C stops it. Write to it in Telegram:

  https://t.me/{username}

What happens to each update:

  {page_url}/

{services}
  health             {operations_url}/health

"""
