"""Starts the simulator, the sample services and the gateway, one after the other.

The simulator runs in this process, the sample services and the gateway are
subprocesses. All of them listen on loopback only. Of the developer's own settings only
the call settings of services reach the gateway, and nothing of a file `.env`, so that
no real bot is affected.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory

import aiohttp
from msgspec import Struct, field

from gateway.sandbox.launcher.chat_file import ChatFile
from gateway.sandbox.launcher.development import Development, check_contracts
from gateway.sandbox.launcher.gateway_bots import (
    add_bots,
    build_bot_settings,
    set_webhooks,
)
from gateway.sandbox.launcher.own_services import running_services
from gateway.sandbox.launcher.service_targets import (
    LOOPBACK,
    accepts_connections,
    call_settings,
)
from gateway.sandbox.launcher.subprocesses import Subprocesses
from gateway.sandbox.server import USERNAME, Simulator
from gateway.sandbox.simulator.limits.flood_limits import LimitSettings
from gateway.sandbox.simulator.state.users import MAX_USERS

_INHERITED_VARIABLES = ("HOME", "LANG", "LC_ALL", "LOG_LEVEL", "PATH", "TMPDIR", "TZ")
"""The environment variables of subprocesses: no settings, and no proxy."""


class Secrets(Struct, frozen=True, kw_only=True):
    """The secrets that the processes share; random, so that no foreign page knows them.

    Attributes:
        token: the token of the first bot, which does not exist at Telegram.
        webhook: the secret that the simulator sends with each update.
        turns: the key with which the gateway posts its traces to the page.
    """

    token: str = field(default_factory=lambda: f"123456:{token_urlsafe(26)}")
    webhook: str = field(default_factory=token_urlsafe)
    turns: str = field(default_factory=token_urlsafe)


class Ports(Struct, frozen=True, kw_only=True):
    """The TCP ports on which the parts of the sandbox listen.

    Attributes:
        gateway: the port of the gateway's webhook.
        ops: the port of the gateway's metrics.
        simulator: the port of the Bot API simulator and its page.
        samples: the port of the sample services.
        delivery: the port of the gateway's Delivery service.
    """

    gateway: int
    ops: int
    simulator: int
    samples: int
    delivery: int

    @property
    def delivery_target(self) -> str:
        """The gRPC address of the gateway's Delivery service."""
        return f"{LOOPBACK}:{self.delivery}"

    @property
    def gateway_url(self) -> str:
        """The gateway's base URL."""
        return f"http://{LOOPBACK}:{self.gateway}"


@asynccontextmanager
async def run_stack(  # noqa: PLR0913 - one parameter per choice
    children: Subprocesses,
    ports: Ports,
    service_targets: Mapping[str, str],
    *,
    secrets: Secrets | None = None,
    settings: Mapping[str, str] | None = None,
    max_users: int = MAX_USERS,
    limits: LimitSettings | None = None,
    bots: Sequence[str] = (),
    development: Development | None = None,
    chats: ChatFile | None = None,
) -> AsyncIterator[Simulator]:
    """Run the sandbox within the block, and yield its simulator.

    The processes stop in reverse order.

    Args:
        children: starts and stops the sample services and the gateway.
        ports: the ports to listen on.
        service_targets: the address of each service. Samples are started only if one is
            at their port.
        secrets: the secrets that the processes share; None for random ones.
        settings: further settings of the gateway; None for none.
        max_users: the maximum number of users of the simulator.
        limits: Telegram's limits of how often a bot may send; None to enforce none.
        bots: the usernames of the bots; empty for a single one with a default name.
        development: the own services to start, and whether to restart what changes;
            None for neither.
        chats: keeps the chats over a restart; None if they are forgotten.

    Raises:
        ProcessExited: a process did not start.
        StopRequested: a signal came before all of them had started.
    """

    async def gateway_answers() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{ports.gateway_url}/health") as response,
            ):
                return response.status == 200
        return False

    kept = {
        name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ
    }
    # Nothing here calls the internet, so that nobody needs the certificates of its
    # authorities. To read them takes a fifth of the time that a process takes to start.
    kept = {**(settings or {}), "SSL_CERT_FILE": os.devnull, **kept}
    secrets = secrets or Secrets()
    development = development or Development()
    simulator = Simulator(
        secrets.token,
        turns_key=secrets.turns,
        max_users=max_users,
        strict=True,
        limits=limits,
        username=next(iter(bots), USERNAME),
    )
    add_bots(simulator, bots)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix="sandbox-"))
        api_url = await stack.enter_async_context(
            simulator.serve(LOOPBACK, ports.simulator)
        )
        if chats is not None:
            await stack.enter_async_context(chats.keeping(simulator, secrets.webhook))
        if f"{LOOPBACK}:{ports.samples}" in service_targets.values():
            samples = ("gateway.sandbox.samples", "--port", str(ports.samples))
            await stack.enter_async_context(
                children.running(
                    "sample services",
                    samples,
                    {**kept, "DELIVERY_TARGET": ports.delivery_target},
                    lambda: accepts_connections(ports.samples),
                    files=development.watch_samples(),
                )
            )
        await stack.enter_async_context(
            running_services(
                children,
                development.commands,
                service_targets,
                variables={"DELIVERY_TARGET": ports.delivery_target},
                watch=development.watch,
                wait=development.wait_for_services,
            )
        )
        environment = {
            **kept,
            "ENV_FILE": "",  # a file .env may contain the token of a real bot
            **build_bot_settings(simulator, secrets.webhook, Path(directory)),
            "TELEGRAM_API_URL": api_url,
            "HOST": LOOPBACK,
            "PORT": str(ports.gateway),
            "OPS_PORT": str(ports.ops),
            "FILES_URL": f"http://{LOOPBACK}:{ports.ops}",
            "DELIVERY_PORT": str(ports.delivery),
            "DRAIN_TIMEOUT": "5",  # less than a child may take to end
            "SANDBOX_TURNS_URL": f"{api_url}/turns",
            "SANDBOX_TURNS_KEY": secrets.turns,
            **call_settings(service_targets),
            **{f"{name}_TARGET": target for name, target in service_targets.items()},
        }
        traced = ("gateway.traced_gateway",)
        await stack.enter_async_context(
            children.running(
                "gateway",
                traced,
                environment,
                gateway_answers,
                files=development.watch_contracts(),
                check=partial(check_contracts, environment),
            )
        )
        set_webhooks(simulator, ports.gateway_url, secrets.webhook)
        yield simulator
