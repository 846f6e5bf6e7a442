"""Starts the sandbox: a Bot API simulator with its page, sample services, the gateway.

The simulator runs in this process, the two others are its children. All of them listen
on loopback only; what users do on the page reaches the gateway by its webhook. Nothing
of the user's own settings reaches the gateway, neither from the environment nor from a
file `.env`, so that no real bot is touched.

Concurrency: one task. It starts the parts in order, each one when the one before it
answers, and stops them in reverse; see `children.py` for how a child ends. The first
signal stops the sandbox, the second one kills it.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager

import aiohttp

from gateway.sandbox.children import Children, Ended, Stopped
from gateway.sandbox.places import LOOPBACK, find_places, free_port, port_fault
from gateway.sandbox.simulator import Simulator

TOKEN = "123456:sandbox-token"  # noqa: S105 - of a bot that does not exist
SECRET = "sandbox-secret"  # noqa: S105 - between two processes on loopback
USER = 1001

_HANDED_ON = ("HOME", "LANG", "LC_ALL", "LOG_LEVEL", "PATH", "TMPDIR", "TZ")
"""What children see of the environment: no settings, and no proxy between them."""


async def run_sandbox(
    services: Collection[str],
    port: int = 8000,
    *,
    ops_port: int = 9000,
    simulator_port: int = 8081,
    samples_port: int = 50051,
    host: str = LOOPBACK,
    targets: Mapping[str, str] | None = None,
) -> int:
    """Run the sandbox until SIGINT, SIGTERM or SIGHUP.

    Args:
        services: the names of all routed services, as in their settings. Those that
            are no samples may have a target in the environment.
        port: where the gateway takes updates.
        ops_port: where the gateway shows its metrics.
        simulator_port: where the Bot API simulator answers.
        samples_port: where the sample services answer; another one is taken if a
            target has it.
        host: the address for all of them, which must be loopback.
        targets: addresses of services that take the place of samples.

    Returns:
        The exit code: 0 after a signal, 1 if a part ended by itself or did not start,
        2 if a port or the host cannot be used.
    """
    if host not in {LOOPBACK, "localhost"}:
        sys.stderr.write(
            f"--host {host}: the sandbox binds to loopback only ({LOOPBACK})\n"
        )
        return 2
    targets = targets or {}
    if str(samples_port) in {target.rpartition(":")[2] for target in targets.values()}:
        samples_port = free_port()
    ports = {
        "gateway": port,
        "metrics": ops_port,
        "Bot API simulator": simulator_port,
        "sample services": samples_port,
    }
    for part, number in ports.items():
        if fault := port_fault(number):
            sys.stderr.write(f"port {number} ({part}) cannot be used: {fault}\n")
            return 2
    children = Children()
    with _on_signals(children):
        try:
            await _run(
                children,
                find_places(services, samples_port, targets),
                port=port,
                ops_port=ops_port,
                simulator_port=simulator_port,
                samples_port=samples_port,
            )
        except Stopped:
            pass
        except Ended as ended:
            sys.stderr.write(f"the sandbox stopped: {ended}\n")
            return 1
    return 0


async def _run(
    children: Children,
    places: Mapping[str, str],
    *,
    port: int,
    ops_port: int,
    simulator_port: int,
    samples_port: int,
) -> None:
    address = f"http://{LOOPBACK}:{port}"

    async def samples_answer() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(LOOPBACK, samples_port)
            writer.close()
            return True
        return False

    async def gateway_answers() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{address}/health") as response,
            ):
                return response.status == 200
        return False

    kept = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    turns_key = secrets.token_urlsafe(16)
    async with AsyncExitStack() as stack:
        simulator = Simulator(TOKEN, turns_key=turns_key)
        api_url = await stack.enter_async_context(
            simulator.serve(LOOPBACK, simulator_port)
        )
        samples = ("gateway.sandbox.samples", "--port", str(samples_port))
        await stack.enter_async_context(
            children.running("sample services", samples, kept, samples_answer)
        )
        settings = {
            **kept,
            "ENV_FILE": "",  # a file .env may hold the token of a real bot
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "TELEGRAM_API_URL": api_url,
            "HOST": LOOPBACK,
            "PORT": str(port),
            "OPS_PORT": str(ops_port),
            "DRAIN_TIMEOUT": "5",  # less than a child may take to end
            "SANDBOX_TURNS_URL": f"{api_url}/turns",
            "SANDBOX_TURNS_KEY": turns_key,
            **{f"{name}_TARGET": target for name, target in places.items()},
        }
        await stack.enter_async_context(
            children.running("gateway", ("gateway", "serve"), settings, gateway_answers)
        )
        simulator.set_webhook(f"{address}/webhook/telegram", SECRET)
        sys.stdout.write(_welcome(address, f"http://{LOOPBACK}:{ops_port}", api_url))
        sys.stdout.flush()
        await children.watch()


@contextmanager
def _on_signals(children: Children) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    # SIGHUP comes when the terminal is closed.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, children.stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _welcome(gateway: str, ops: str, api: str) -> str:
    # The number of an update is the second in which it is pasted: a new one each time.
    return f"""
The sandbox is up. Ctrl-C stops it. Open its page in a browser:

  {api}/

  gateway            {gateway}/health
  metrics            {ops}/metrics
  Bot API simulator  {api}

Or say something as user {USER} ("match", /start, /profile, /notifications off, /help):

  curl -sS {gateway}/webhook/telegram \\
    -H 'Content-Type: application/json' \\
    -H 'X-Telegram-Bot-Api-Secret-Token: {SECRET}' \\
    -d '{{"update_id": '$(date +%s)', "message": {{"message_id": 1, \
"date": '$(date +%s)', "text": "hello", \
"chat": {{"id": {USER}, "type": "private"}}, \
"from": {{"id": {USER}, "is_bot": false, "first_name": "Ada"}}}}}}'

See the reply:

  curl -sS {api}/chats/{USER}

"""
