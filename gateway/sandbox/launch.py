"""Starts the sandbox: a Bot API simulator, the sample services, the gateway.

The simulator runs in this process, the two others are its children. All of them listen
on loopback only. Nothing of the user's own settings reaches the gateway, neither from
the environment nor from a file `.env`, so that no real bot is touched.

Concurrency: one task. It starts the parts in order, each one when the one before it
answers, and stops them in reverse; see `children.py` for how a child ends. The first
signal stops the sandbox, the second one kills it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import AsyncExitStack, contextmanager

import aiohttp

from gateway.sandbox.children import Children, Ended, Stopped
from gateway.sandbox.simulator import Simulator

HOST = "127.0.0.1"
TOKEN = "123456:sandbox-token"  # noqa: S105 - of a bot that does not exist
SECRET = "sandbox-secret"  # noqa: S105 - between two processes on loopback
USER = 1001

SAMPLES = {"CONVERSATION", "MATCHING", "NOTIFICATION", "PROFILE"}
"""The services that are started here; their settings are not taken from outside."""

_HANDED_ON = ("HOME", "LANG", "LC_ALL", "LOG_LEVEL", "PATH", "TMPDIR", "TZ")
"""What children see of the environment: no settings, and no proxy between them."""


async def run_sandbox(
    services: Collection[str],
    port: int = 8000,
    *,
    ops_port: int = 9000,
    simulator_port: int = 8081,
    samples_port: int = 50051,
) -> int:
    """Run the sandbox until SIGINT, SIGTERM or SIGHUP.

    Args:
        services: the names of all routed services, as in their settings. Those that
            are no samples may have a target in the environment.
        port: where the gateway takes updates.
        ops_port: where the gateway shows its metrics.
        simulator_port: where the Bot API simulator answers.
        samples_port: where the sample services answer.

    Returns:
        The exit code: 0 after a signal, 1 if a part ended by itself or did not start,
        2 if a port cannot be used.
    """
    ports = {
        "gateway": port,
        "metrics": ops_port,
        "Bot API simulator": simulator_port,
        "sample services": samples_port,
    }
    for part, number in ports.items():
        if fault := _port_fault(number):
            sys.stderr.write(f"port {number} ({part}) cannot be used: {fault}\n")
            return 2
    children = Children()
    with _on_signals(children):
        try:
            await _run(children, services, port, ops_port, simulator_port, samples_port)
        except Stopped:
            pass
        except Ended as ended:
            sys.stderr.write(f"the sandbox stopped: {ended}\n")
            return 1
    return 0


async def _run(
    children: Children,
    services: Collection[str],
    port: int,
    ops_port: int,
    simulator_port: int,
    samples_port: int,
) -> None:
    address = f"http://{HOST}:{port}"

    async def samples_answer() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, samples_port)
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
    target = f"{HOST}:{samples_port}"
    async with AsyncExitStack() as stack:
        simulator = Simulator(TOKEN)
        api_url = await stack.enter_async_context(simulator.serve(HOST, simulator_port))
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
            "HOST": HOST,
            "PORT": str(port),
            "OPS_PORT": str(ops_port),
            "DRAIN_TIMEOUT": "5",  # less than a child may take to end
            **{f"{name}_TARGET": target for name in services},
            # A service of the developer's own is where the developer says.
            **{
                f"{name}_TARGET": os.environ[f"{name}_TARGET"]
                for name in set(services) - SAMPLES
                if f"{name}_TARGET" in os.environ
            },
        }
        await stack.enter_async_context(
            children.running("gateway", ("gateway", "serve"), settings, gateway_answers)
        )
        sys.stdout.write(_welcome(address, f"http://{HOST}:{ops_port}", api_url))
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


def _port_fault(port: int) -> str:
    """Tell why a port cannot be listened on. Empty: it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as fault:
            return str(fault.strerror)
        except OverflowError:
            return "there is no such port"
    return ""


def _welcome(gateway: str, ops: str, api: str) -> str:
    # The number of an update is the second in which it is pasted: a new one each time.
    return f"""
The sandbox is up. Ctrl-C stops it.

  gateway            {gateway}/health
  metrics            {ops}/metrics
  Bot API simulator  {api}

Say something as user {USER} (or "match", /start, /profile, /notifications off, /help):

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
