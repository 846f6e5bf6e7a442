"""Answers that are written while the user looks on, through the whole gateway."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox.server import Simulator
from tests.support.backend import Backend, serving
from tests.support.gateway_harness import TOKEN, GatewayHarness, running_gateway
from tests.support.process import Process, program, settings_of
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def drafts_of(simulator: Simulator) -> list[dict[str, Any]]:
    """Return the parameters of the drafts that the Bot API saw."""
    drafts = [sent for sent in simulator.sent if sent.method == "sendMessageDraft"]
    return [sent.parameters for sent in drafts]


def drafts(gateway: GatewayHarness) -> list[str]:
    """Return the texts of the drafts that the Bot API saw."""
    return [str(draft["text"]) for draft in drafts_of(gateway.simulator)]


async def stop(gateway: GatewayHarness, draft_id: int, *, user: int = 7) -> int:
    """Post what Telegram posts when a user presses the stop button."""
    chat = {"id": user, "type": "private"}
    stopped = {"chat": chat, "draft_id": draft_id}
    return await gateway.update({"stopped_message_generation": stopped})


async def test_a_user_sees_the_answer_grow_and_keeps_it() -> None:
    """A draft while it is written, a message when it is whole."""
    async with running_gateway(streaming=True) as gateway:
        await gateway.say("tell me")
        gateway.backend.pieces.put_nowait("Once upon")
        await wait_until(lambda: drafts(gateway) == ["Once upon"])
        gateway.backend.pieces.put_nowait(" a time")
        await wait_until(lambda: drafts(gateway)[-1] == "Once upon a time")
        assert gateway.texts() == []
        gateway.backend.pieces.put_nowait(None)
        await gateway.ended(1)
        assert gateway.texts() == ["Once upon a time"]
        assert gateway.outcomes() == ["done"]


async def test_a_stop_cancels_the_call_and_keeps_the_text() -> None:
    """It overtakes the user's own next messages; the service sees it at once."""
    async with running_gateway(3600, streaming=True) as gateway:
        asked = await gateway.say("tell me")
        gateway.backend.pieces.put_nowait("Once upon")
        await wait_until(lambda: bool(drafts(gateway)))
        await gateway.say("and then?")
        await stop(gateway, asked)
        await wait_until(lambda: bool(gateway.backend.streams_ended))
        gateway.backend.pieces.put_nowait(None)
        await gateway.ended(3)
        assert gateway.texts() == ["Once upon"]
        assert gateway.outcomes() == ["stopped", "done", "done"]


async def test_a_stop_reaches_the_worker_that_writes(server: RedisServer) -> None:
    """Wherever Telegram posts it."""
    async with (
        running_gateway(3600, streaming=True, redis_url=server.url) as writer,
        running_gateway(3600, streaming=True, redis_url=server.url) as other,
    ):
        asked = await writer.say("tell me")
        writer.backend.pieces.put_nowait("Once upon")
        await wait_until(lambda: bool(drafts(writer)))

        async def stopped() -> bool:
            await stop(other, draft_id=asked)  # again: it may not listen yet
            return bool(writer.backend.streams_ended)

        await wait_until_found(stopped)
        await writer.ended(1)
        assert writer.outcomes()[0] == "stopped"
        assert writer.texts() == ["Once upon"]


async def test_after_a_crash_the_answer_begins_again_in_the_same_draft(
    server: RedisServer,
) -> None:
    """Under the same request id; the user has one answer in the end, and all of it."""
    backend, simulator = Backend(), Simulator(TOKEN)
    port, ops_port = free_ports(2)
    async with serving(backend) as target, simulator.serve() as api_url:
        settings = settings_of(target, api_url, port, ops_port)
        settings |= {"REDIS_URL": server.url, "CONVERSATION_STREAMING": "true"}

        @asynccontextmanager
        async def run() -> AsyncIterator[Process]:
            async with program("serve", settings=settings) as process:
                gateway = Process(
                    process, backend, simulator, f"http://127.0.0.1:{port}"
                )
                await wait_until_found(gateway.healthy)
                try:
                    yield gateway
                finally:
                    await gateway.close()

        async with run() as first:
            await first.say(5, user=7)
            backend.pieces.put_nowait("half of")
            await wait_until(lambda: bool(drafts_of(simulator)))
            first.process.kill()
            await first.process.wait()
        await wait_until(lambda: len(backend.streams_ended) == 1)
        async with run():
            await wait_until(lambda: len(backend.asked("StreamMessage")) == 2)
            for piece in ("all ", "of it", None):
                backend.pieces.put_nowait(piece)
            await wait_until(lambda: bool(simulator.messages(7)))
    ids = {asked.context.request_id for asked in backend.asked("StreamMessage")}
    assert len(ids) == 1
    assert {sent["draft_id"] for sent in drafts_of(simulator)} == {5}
    assert [message["text"] for message in simulator.messages(7)] == ["all of it"]


async def test_nothing_of_a_streamed_answer_is_logged() -> None:
    """Neither of what is kept nor of what is stopped."""
    async with running_gateway(streaming=True) as gateway:
        asked = await gateway.say("hush question")
        gateway.backend.pieces.put_nowait("hush answer")
        await wait_until(lambda: bool(drafts(gateway)))
        await stop(gateway, asked)
        await gateway.ended(2)
        assert "hush" not in str(gateway.log())
