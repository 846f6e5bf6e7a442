"""Starts the parts of a sandbox, each one when the one before it answers.

The simulator runs in this process, the sample services and the gateway are its
children. All of them listen on loopback only. Of the user's own settings
only how services are called reaches the gateway, and nothing of a file `.env`, so that
no real bot is touched.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from secrets import token_urlsafe

import aiohttp
from msgspec import Struct, field

from gateway.sandbox.launcher.service_targets import LOOPBACK, call_settings
from gateway.sandbox.launcher.subprocesses import Subprocesses
from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.state.users import MAX_USERS

_INHERITED_VARIABLES = ("HOME", "LANG", "LC_ALL", "LOG_LEVEL", "PATH", "TMPDIR", "TZ")
"""What children see of the environment: no settings, and no proxy between them."""


class Secrets(Struct, frozen=True, kw_only=True):
    """What lets one part know another; random, so that no page elsewhere knows it.

    Attributes:
        token: of a bot that does not exist.
        webhook: the webhook's secret.
        turns: the key with which the gateway tells what it does.
    """

    token: str = field(default_factory=lambda: f"123456:{token_urlsafe(26)}")
    webhook: str = field(default_factory=token_urlsafe)
    turns: str = field(default_factory=token_urlsafe)


class Ports(Struct, frozen=True, kw_only=True):
    """Where the parts listen.

    Attributes:
        gateway: where it takes updates.
        ops: where it shows its metrics.
        simulator: where the Bot API simulator answers.
        samples: where the sample services answer.
    """

    gateway: int
    ops: int
    simulator: int
    samples: int

    @property
    def gateway_url(self) -> str:
        """The gateway's address."""
        return f"http://{LOOPBACK}:{self.gateway}"


@asynccontextmanager
async def run_stack(
    children: Subprocesses,
    ports: Ports,
    places: Mapping[str, str],
    *,
    secrets: Secrets | None = None,
    settings: Mapping[str, str] | None = None,
    most_users: int = MAX_USERS,
) -> AsyncIterator[Simulator]:
    """Run the parts inside of the block; they stop in reverse.

    Args:
        children: get the sample services and the gateway.
        ports: where the parts listen.
        places: where each service is.
        secrets: what the parts share. None: random ones.
        settings: of the gateway, for what the environment does not say.
        most_users: how many users there may be.

    Raises:
        ProcessExited: a part did not start.
        StopRequested: a signal came before all of them had started.
    """

    async def samples_answer() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(LOOPBACK, ports.samples)
            writer.close()
            return True
        return False

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
    kept = {**(settings or {}), **kept}
    secrets = secrets or Secrets()
    simulator = Simulator(
        secrets.token, turns_key=secrets.turns, most_users=most_users, strict=True
    )
    async with AsyncExitStack() as stack:
        api_url = await stack.enter_async_context(
            simulator.serve(LOOPBACK, ports.simulator)
        )
        samples = ("gateway.sandbox.samples", "--port", str(ports.samples))
        await stack.enter_async_context(
            children.running("sample services", samples, kept, samples_answer)
        )
        environment = {
            **kept,
            "ENV_FILE": "",  # a file .env may hold the token of a real bot
            "TELEGRAM_BOT_TOKEN": secrets.token,
            "TELEGRAM_WEBHOOK_SECRET": secrets.webhook,
            "TELEGRAM_API_URL": api_url,
            "HOST": LOOPBACK,
            "PORT": str(ports.gateway),
            "OPS_PORT": str(ports.ops),
            "FILES_URL": f"http://{LOOPBACK}:{ports.ops}",
            "DRAIN_TIMEOUT": "5",  # less than a child may take to end
            "SANDBOX_TURNS_URL": f"{api_url}/turns",
            "SANDBOX_TURNS_KEY": secrets.turns,
            **call_settings(places),
            **{f"{name}_TARGET": target for name, target in places.items()},
        }
        traced = ("gateway.traced_gateway",)
        await stack.enter_async_context(
            children.running("gateway", traced, environment, gateway_answers)
        )
        url = f"{ports.gateway_url}/webhook/telegram"
        simulator.set_webhook(url, secrets.webhook)
        yield simulator
