"""Runs the sandbox: the simulator with its page, the sample services and the gateway.

Actions of users on the page reach the gateway by its webhook; see `stack.py` for the
settings of the gateway.

Concurrency: one task. It starts the processes in order and stops them in reverse; see
`subprocesses.py` for how a process ends. The first signal stops the sandbox, the second
one kills it.
"""

import sys
from collections.abc import Collection, Mapping, Sequence

from gateway.background import BackgroundTasks
from gateway.sandbox.launcher.chat_file import ChatFile
from gateway.sandbox.launcher.development import Development
from gateway.sandbox.launcher.gateway_bots import get_webhook_path
from gateway.sandbox.launcher.service_targets import (
    LOOPBACK,
    free_ports,
    port_problem,
    resolve_targets,
)
from gateway.sandbox.launcher.stack import Ports, Secrets, run_stack
from gateway.sandbox.launcher.subprocesses import (
    ProcessExited,
    StopRequested,
    Subprocesses,
)
from gateway.sandbox.simulator.limits.flood_limits import LimitSettings
from gateway.stop_signals import receive_stop_signals

USER = 1001


async def run_sandbox(  # noqa: PLR0913 - one parameter per option
    services: Collection[str],
    port: int = 8000,
    *,
    ops_port: int = 9000,
    simulator_port: int = 8081,
    samples_port: int = 50051,
    host: str = LOOPBACK,
    targets: Mapping[str, str] | None = None,
    secrets: Secrets | None = None,
    settings: Mapping[str, str] | None = None,
    limits: LimitSettings | None = None,
    bots: Sequence[str] = (),
    development: Development | None = None,
    chats: ChatFile | None = None,
) -> int:
    """Run the sandbox until SIGINT, SIGTERM or SIGHUP.

    Args:
        services: the names of all routed services, as in their settings. Services
            without a sample may have a target in the environment.
        port: the port of the gateway's webhook.
        ops_port: the port of the gateway's metrics.
        simulator_port: the port of the Bot API simulator and its page.
        samples_port: the port of the sample services; a free one is used if a target
            has this port.
        host: the address to listen on, which must be loopback.
        targets: addresses of services that replace samples, by service name; None for
            none.
        secrets: the secrets that the processes share; None for random ones.
        settings: further settings of the gateway; None for none.
        limits: Telegram's limits of how often a bot may send; None to enforce none.
        bots: the usernames of the bots; empty for a single one with a default name.
        development: the own services to start, and whether to restart what changes;
            None for neither.
        chats: keeps the chats over a restart; None if they are forgotten.

    Returns:
        The exit code: 0 after a signal, 1 if a process ended by itself or did not
        start, 2 if a port or the host cannot be used.
    """
    if host not in {LOOPBACK, "localhost"}:
        sys.stderr.write(
            f"--host {host}: the sandbox binds to loopback only ({LOOPBACK})\n"
        )
        return 2
    targets = targets or {}
    secrets = secrets or Secrets()
    if str(samples_port) in {target.rpartition(":")[2] for target in targets.values()}:
        (samples_port,) = free_ports(1)
    ports = Ports(
        gateway=port,
        ops=ops_port,
        simulator=simulator_port,
        samples=samples_port,
        delivery=free_ports(1)[0],
    )
    if fault := _fault(ports):
        sys.stderr.write(f"{fault}\n")
        return 2
    children = Subprocesses()
    async with (
        BackgroundTasks() as background,
        receive_stop_signals(background, lambda _: children.stop()),
    ):
        try:
            service_targets = resolve_targets(services, samples_port, targets)
            async with run_stack(
                children,
                ports,
                service_targets,
                secrets=secrets,
                settings=settings,
                limits=limits,
                bots=bots,
                development=development,
                chats=chats,
            ):
                sys.stdout.write(_welcome(ports, secrets, bots))
                sys.stdout.flush()
                await children.watch()
        except StopRequested:
            pass
        except ProcessExited as ended:
            sys.stderr.write(f"the sandbox stopped: {ended}\n")
            return 1
    return 0


def _fault(ports: Ports) -> str:
    """Return which port cannot be used, or "" if all can."""
    numbers = {
        "gateway": ports.gateway,
        "metrics": ports.ops,
        "Bot API simulator": ports.simulator,
        "sample services": ports.samples,
    }
    owners: dict[int, str] = {}
    for part, number in numbers.items():
        owner = owners.setdefault(number, part)
        fault = f"the {owner} has it" if owner != part else port_problem(number)
        if fault:
            return f"port {number} ({part}) cannot be used: {fault}"
    return ""


def _welcome(ports: Ports, secrets: Secrets, bots: Sequence[str]) -> str:
    gateway = ports.gateway_url
    ops = f"http://{LOOPBACK}:{ports.ops}"
    api = f"http://{LOOPBACK}:{ports.simulator}"
    # The number of an update is the second in which it is pasted: a new one each time.
    return f"""
The sandbox is up. Ctrl-C stops it. Open its page in a browser:

  {api}/

  gateway            {gateway}/health
  metrics            {ops}/metrics
  Bot API simulator  {api}
  Delivery service   {ports.delivery_target}

Or say something as user {USER} ("match", /start, /profile, /notifications off, /help):

  curl -sS {gateway}{get_webhook_path(bots)} \\
    -H 'Content-Type: application/json' \\
    -H 'X-Telegram-Bot-Api-Secret-Token: {secrets.webhook}' \\
    -d '{{"update_id": '$(date +%s)', "message": {{"message_id": 1, \
"date": '$(date +%s)', "text": "hello", \
"chat": {{"id": {USER}, "type": "private"}}, \
"from": {{"id": {USER}, "is_bot": false, "first_name": "Ada"}}}}}}'

See the reply:

  curl -sS {api}/chats/{USER}

"""
