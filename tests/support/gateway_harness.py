"""A whole gateway with real HTTP and real gRPC around it."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from google.protobuf.descriptor import ServiceDescriptor

from gateway import server
from gateway.background import BackgroundTasks
from gateway.config.run_mode import SingleProcess
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.domain.instrumentation import NO_INSTRUMENTATION
from gateway.observability.logging import LogLinesHandler
from gateway.sandbox.server import Simulator
from gateway.sandbox.tracing.instrumentation import TracingInstrumentation
from gateway.sandbox.tracing.tracer import Tracer
from gateway.services.routing.route_table import build_route_table
from tests.factories import build_button_press_json, build_message_json
from tests.support.backend import Backend, serving
from tests.support.services.samples import SAMPLE_SERVICES
from tests.support.tasks import in_own_task
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until

TOKEN = "7400000001:AAcanary-token-of-the-bot"
SECRET = "canary-webhook-secret"
UPDATES = Path(__file__).parents[1] / "updates"


class GatewayHarness:
    """What a test may do and see."""

    def __init__(
        self,
        backend: Backend,
        simulator: Simulator,
        session: aiohttp.ClientSession,
        settings: Settings,
        log: io.BytesIO,
    ) -> None:
        self.backend = backend
        self.simulator = simulator
        self.settings = settings
        self._session = session
        self._log = log
        self._next = 1000

    @property
    def url(self) -> str:
        """The public address of the gateway."""
        return f"http://127.0.0.1:{self.settings.port}"

    async def post(
        self,
        body: bytes,
        *,
        secret: str | None = SECRET,
        path: str = "/webhook/telegram",
    ) -> None:
        """Post a body as Telegram does; anything but an empty 200 fails the test."""
        headers = {"Content-Type": "application/json"}
        if secret is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = secret
        url = f"{self.url}{path}"
        async with self._session.post(url, data=body, headers=headers) as response:
            assert response.status == 200
            assert await response.read() == b""

    async def update(self, content: dict[str, Any], update_id: int = 0) -> int:
        """Post an update; its id is the next one unless it is given."""
        self._next += 1
        update_id = update_id or self._next
        await self.post(json.dumps({"update_id": update_id, **content}).encode())
        return update_id

    async def say(self, text: str, *, user: int = 7, update_id: int = 0) -> int:
        """Post a text message of a user in the private chat."""
        message = build_message_json(text, user=user)
        return await self.update({"message": message}, update_id)

    async def press(self, data: str, *, user: int = 7) -> int:
        """Post the press of a button under message 1 of the private chat."""
        query = build_button_press_json(data, user=user, query_id=f"q{self._next}")
        return await self.update({"callback_query": query})

    def texts(self, user: int = 7) -> list[str]:
        """Return what a user's chat shows."""
        return [message["text"] for message in self.simulator.messages(user)]

    def answers(self) -> list[str]:
        """Return the answers to pressed buttons."""
        return [answer.get("text", "") for answer in self.simulator.answers]

    def log(self) -> list[dict[str, Any]]:
        """Return what was logged."""
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    def turns(self) -> list[dict[str, Any]]:
        """Return the log lines of updates."""
        return [line for line in self.log() if line["logger"] == "gateway.update"]

    def outcomes(self) -> list[str]:
        """Return what became of the updates, in the order in which they ended."""
        return [line["outcome"] for line in self.turns()]

    async def ended(self, count: int) -> None:
        """Wait until so many updates have ended."""
        await wait_until(lambda: len(self.turns()) >= count)

    async def get(self, path: str, *, ops: bool = False) -> tuple[int, str]:
        """Get a page of the gateway."""
        port = self.settings.ops_port if ops else self.settings.port
        url = f"http://127.0.0.1:{port}{path}"
        async with self._session.get(url) as response:
            return response.status, await response.text()


@contextmanager
def logged() -> Iterator[io.BytesIO]:
    """Collect the log as it would be written."""
    output = io.BytesIO()
    handler = LogLinesHandler(output)
    logger = logging.getLogger("gateway")
    logging.getLogger().addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield output
    finally:
        logging.getLogger().removeHandler(handler)
        logger.setLevel(logging.NOTSET)


@asynccontextmanager
async def running_gateway(
    service_seconds: float = 30,
    recorder: Tracer | None = None,
    *,
    streaming: bool = False,
    further: Mapping[ServiceDescriptor, grpc.GenericRpcHandler] | None = None,
    **changes: Any,  # noqa: ANN401 - any setting
) -> AsyncIterator[GatewayHarness]:
    """Start a gateway with everything around it; drain it in the end.

    Args:
        service_seconds: the deadline of all services.
        recorder: is told what happens.
        streaming: texts go to StreamMessage.
        further: services besides the four, with what serves them.
        changes: settings that differ from the defaults of tests.
    """
    backend = Backend()
    further = further or {}
    simulator = Simulator(TOKEN)
    port, ops_port = free_ports(2)
    with logged() as log:
        async with (
            simulator.serve() as api_url,
            serving(backend, *further.values()) as target,
            aiohttp.ClientSession() as session,
        ):
            chosen: dict[str, Any] = {
                "telegram_bot_token": TOKEN,
                "telegram_webhook_secret": SECRET,
                "telegram_api_url": api_url,
                "port": port,
                "ops_port": ops_port,
                "rate_limit_requests": 1000,
                "drain_timeout": 5,
            } | changes
            settings = Settings(_env_file=None, **chosen)
            table = build_route_table([*SAMPLE_SERVICES, *further])
            services = {
                name: ServiceSettings(
                    _env_file=None,
                    target=target,
                    timeout=service_seconds,
                    streaming=streaming and name == "CONVERSATION",
                )
                for name in table.service_names
            }
            instrumentation = (
                TracingInstrumentation(recorder) if recorder else NO_INSTRUMENTATION
            )
            async with (
                in_own_task(BackgroundTasks()) as background,
                server.run_gateway(
                    settings,
                    services,
                    table,
                    SingleProcess(),
                    background,
                    instrumentation,
                ),
            ):
                yield GatewayHarness(backend, simulator, session, settings, log)
                await asyncio.sleep(0)
