"""Answers that are written while the user looks on, through the whole gateway."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.world import World, world
from tests.mailboxes.servers import RedisServer
from tests.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def drafts(gateway: World) -> list[str]:
    """Give the texts of the drafts that the Bot API saw."""
    return [
        str(sent.parameters["text"])
        for sent in gateway.simulator.sent
        if sent.method == "sendMessageDraft"
    ]


async def stop(gateway: World, draft_id: int, *, user: int = 7) -> int:
    """Post what Telegram posts when a user presses the stop button."""
    chat = {"id": user, "type": "private"}
    stopped = {"chat": chat, "draft_id": draft_id}
    return await gateway.update({"stopped_message_generation": stopped})


async def test_a_user_sees_the_answer_grow_and_keeps_it() -> None:
    """A draft while it is written, a message when it is whole."""
    async with world(streaming=True) as gateway:
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
    async with world(streaming=True) as gateway:
        asked = await gateway.say("tell me")
        gateway.backend.pieces.put_nowait("Once upon")
        await wait_until(lambda: bool(drafts(gateway)))
        await gateway.say("and then?")
        pressed = time.monotonic()
        await stop(gateway, asked)
        await wait_until(lambda: bool(gateway.backend.streams_ended))
        assert gateway.backend.streams_ended[0] - pressed < 0.2
        gateway.backend.pieces.put_nowait(None)
        await gateway.ended(3)
        assert gateway.texts() == ["Once upon"]
        assert gateway.outcomes() == ["stopped", "done", "done"]


async def test_a_stop_reaches_the_worker_that_writes(server: RedisServer) -> None:
    """Wherever Telegram posts it."""
    async with (
        world(streaming=True, redis_url=server.url) as writer,
        world(streaming=True, redis_url=server.url) as other,
    ):
        asked = await writer.say("tell me")
        writer.backend.pieces.put_nowait("Once upon")
        await wait_until(lambda: bool(drafts(writer)))
        pressed = time.monotonic()
        await stop(other, draft_id=asked)
        await wait_until(lambda: bool(writer.backend.streams_ended))
        assert writer.backend.streams_ended[0] - pressed < 0.5
        await writer.ended(1)
        assert writer.outcomes()[0] == "stopped"
        assert writer.texts() == ["Once upon"]


async def test_nothing_of_a_streamed_answer_is_logged() -> None:
    """Neither of what is kept nor of what is stopped."""
    async with world(streaming=True) as gateway:
        asked = await gateway.say("hush question")
        gateway.backend.pieces.put_nowait("hush answer")
        await wait_until(lambda: bool(drafts(gateway)))
        await stop(gateway, asked)
        await gateway.ended(2)
        assert "hush" not in str(gateway.log())
