"""Files that go along with a call, over real HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gateway.domain.bot_api_call import Upload
from gateway.domain.errors import BotApiUnavailable, CallRejected
from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api
from gateway.telegram.bot_api.multipart import MultipartClient
from tests.support.waiting import LIMIT

TOKEN = "4711:AA-secret-of-this-bot"
SECRET = "secret-of-this-bot"
CONTENT = bytes(range(256)) * 4000
"""A megabyte, with all that a boundary could stumble over."""


async def no_sleep(seconds: float) -> None:
    """Sleep in no time."""


@pytest.fixture
def simulator() -> Simulator:
    """Return a Bot API that is not serving yet."""
    return Simulator(TOKEN)


@pytest.fixture
async def api(simulator: Simulator) -> AsyncIterator[BotApiClient]:
    """Yield a client of the simulator."""
    async with (
        simulator.serve() as url,
        open_bot_api(TOKEN, url, sleep=no_sleep) as api,
    ):
        yield api


@pytest.mark.parametrize(
    "name", ["invoice.pdf", 'a"b\r\nc\\d.txt', "Rechnung № 12 — ä🙂.pdf"]
)
async def test_a_file_arrives_as_it_is(
    api: BotApiClient, simulator: Simulator, name: str
) -> None:
    """Byte for byte, with its parameters; no name breaks the form."""
    file = Upload(content=CONTENT, file_name=name, mime_type="application/pdf\r\nX: y")
    markup = {"inline_keyboard": [[{"text": "ä", "callback_data": "a"}]]}
    parameters = {"chat_id": -7, "caption": "ä\r\n--x", "reply_markup": markup}
    message = await api.call("sendDocument", parameters, {"document": file})
    shown = message["document"]
    assert shown["file_size"] == len(CONTENT)
    if name.isprintable() and "\\" not in name:
        assert shown["file_name"] == name
    assert message["caption"] == "ä\r\n--x"
    assert message["reply_markup"] == markup
    found = await api.call("getFile", {"file_id": shown["file_id"]})
    address = f"{api_url(api)}/file/bot{TOKEN}/{found['file_path']}"
    async with aiohttp.ClientSession() as client, client.get(address) as response:
        assert await response.read() == CONTENT


def api_url(api: BotApiClient) -> str:
    """Return the address that a client was made with."""
    return api._connections._url.rstrip("/")  # noqa: SLF001 - only the simulator's port


async def test_an_album_of_uploads_arrives(
    api: BotApiClient, simulator: Simulator
) -> None:
    files = {
        f"file{n}": Upload(content=b"x" * (n + 1), file_name=f"{n}.jpg")
        for n in range(3)
    }
    media = [{"type": "photo", "media": f"attach://file{n}"} for n in range(3)]
    await api.call("sendMediaGroup", {"chat_id": 7, "media": media}, files)
    shown = simulator.messages(7)
    assert [each["photo"][0]["file_size"] for each in shown] == [1, 2, 3]
    assert len({each["media_group_id"] for each in shown}) == 1


FILE = {"photo": Upload(content=CONTENT, file_name="a.jpg")}


@pytest.mark.parametrize("status", [429, 500])
async def test_an_upload_is_repeated_where_that_is_safe(
    api: BotApiClient, simulator: Simulator, status: int
) -> None:
    simulator.fail("sendPhoto", status)
    message = await api.call("sendPhoto", {"chat_id": 7}, FILE)
    assert message["photo"][0]["file_size"] == len(CONTENT)
    assert [call.status for call in simulator.sent] == [status, 200]


async def test_a_doubtful_upload_is_not_repeated(
    api: BotApiClient, simulator: Simulator
) -> None:
    """It may be there already: a message that is sent twice is read twice."""
    simulator.fail("sendPhoto", 200, drop=True)
    with pytest.raises(BotApiUnavailable):
        await api.call("sendPhoto", {"chat_id": 7}, FILE)
    assert len(simulator.sent) == 1


async def test_an_upload_that_is_refused_says_so(
    api: BotApiClient, simulator: Simulator
) -> None:
    simulator.fail("sendPhoto", 400)
    with pytest.raises(CallRejected):
        await api.call("sendPhoto", {"chat_id": 7}, FILE)


LARGE = {"document": Upload(content=bytes(30_000_000), file_name="a")}
"""More than the system's own buffers hold."""


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """Serve something that answers at once, and reads no further than the head."""
    until = asyncio.Event()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await until.wait()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/bot{TOKEN}/"
        until.set()


async def test_a_silent_link_is_given_up() -> None:
    """Long before the time that so large a file may take."""
    async with raw_server(b"") as url:
        uploads = MultipartClient(url, idle_timeout=0.3)
        answer = await asyncio.wait_for(uploads.post("sendDocument", {}, LARGE), LIMIT)
        await uploads.close()
    assert (answer.ok, answer.maybe_applied) == (False, True)


async def test_an_upload_that_got_no_connection_may_be_repeated() -> None:
    """The others have all of them until the time of this one is over."""
    async with raw_server(b"") as url:
        uploads = MultipartClient(url, idle_timeout=3)
        file = {"document": Upload(content=bytes(200_000), file_name="a")}
        answers = await asyncio.wait_for(
            asyncio.gather(
                *(uploads.post("sendDocument", {}, file) for _ in range(101))
            ),
            LIMIT,
        )
        await uploads.close()
    assert [answer.maybe_applied for answer in answers] == [True] * 100 + [False]


async def test_a_slow_link_is_not_given_up() -> None:
    """As long as something moves, it takes longer than a silence may last."""

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: " in head
        left = int(head.partition(b"Content-Length: ")[2].split()[0])
        loop = asyncio.get_running_loop()
        start, size = loop.time(), left
        while left:
            # Never more than fits to the time that has passed.
            due = size - int(size * (loop.time() - start) / 2.5)
            while left > max(due, 0):
                left -= len(await reader.read(min(65536, left)))
            await asyncio.sleep(0.01)
        writer.write(
            b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"ok": true, "result":1}'
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        uploads = MultipartClient(f"http://127.0.0.1:{port}/", idle_timeout=2)
        answer = await uploads.post("sendDocument", {}, LARGE)
        await uploads.close()
    assert answer.ok


async def test_an_answer_before_the_end_of_a_file_counts() -> None:
    """Telegram need not read all of what it refuses."""
    body = b'{"ok":false,"error_code":413,"description":"Request Entity Too Large"}'
    head = f"HTTP/1.1 413 Too Large\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with raw_server(head + body) as url:
        uploads = MultipartClient(url, idle_timeout=5)
        answer = await asyncio.wait_for(uploads.post("sendDocument", {}, LARGE), LIMIT)
        await uploads.close()
    assert answer.error_code == 413
    assert not answer.maybe_applied


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Collect all that is logged."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


async def test_nothing_of_an_upload_is_reported(log: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the file is in an error or in the log."""
    file = {"document": Upload(content=b"canary", file_name="canary.txt")}
    for url in ("http://127.0.0.1:1", "http://[", "http://a..b"):
        async with open_bot_api(TOKEN, url, sleep=no_sleep) as api:
            with pytest.raises(BotApiUnavailable) as caught:
                await api.call("sendDocument", {"chat_id": 7}, file, patience=0)
        error: BaseException | None = caught.value
        while error:
            assert SECRET not in repr(error)
            assert "canary" not in repr(error)
            error = error.__cause__ or error.__context__
    assert SECRET not in log.text
    assert "canary" not in log.text
