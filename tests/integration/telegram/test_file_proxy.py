"""Files of users at signed addresses: for who has one, and without the bot's token."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from botgateway.chat.v1 import message_pb2 as contract
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.client import open_bot_api
from gateway.telegram.files import proxy as module
from gateway.telegram.files.proxy import (
    MAX_DOWNLOADS,
    MAX_DOWNLOADS_PER_CLIENT,
    FileProxy,
)
from gateway.telegram.files.signed_urls import (
    URL_TTL_SECONDS,
    SignatureCheck,
    SignedFileUrls,
)
from tests.support.fakes import FakeClock
from tests.support.waiting import wait_until, wait_until_found

TOKEN = "4711:AA-secret-of-this-bot"
SECRET = "secret-of-this-bot"
CONTENT = bytes(range(256)) * 4000
FILE = "BQACAgADGQEAAx"


async def no_sleep(seconds: float) -> None:
    """Sleep in no time."""


class Place:
    """A gateway's files, and who asks for them."""

    def __init__(
        self, addresses: SignedFileUrls, client: aiohttp.ClientSession
    ) -> None:
        self.addresses = addresses
        self.client = client

    async def get(
        self, url: str = "", method: str = "GET", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask for a file; gives status, body and headers."""
        url = url or self.addresses.build_url(FILE)
        async with self.client.request(
            method, url, headers=headers, allow_redirects=False
        ) as response:
            body = await response.read()
            assert SECRET not in str(response.headers)
            assert SECRET.encode() not in body
            return response.status, body, dict(response.headers)


@asynccontextmanager
async def serving(clock: FakeClock, api_url: str) -> AsyncIterator[Place]:
    """Serve the files that a Bot API has."""
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    pauses = FakeClock()

    async def sleep(seconds: float) -> None:
        pauses.move(seconds)

    async with (
        open_bot_api(TOKEN, api_url, uptime=pauses.uptime, sleep=sleep) as api,
        aiohttp.ClientSession() as client,
    ):
        addresses = SignedFileUrls(4711, [TOKEN], "", clock.now)
        source = f"{api_url}/file/bot{TOKEN}"
        async with FileProxy(api, source, addresses) as downloads:
            app.router.add_get("/files/{rest:.*}", downloads.handle)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield Place(SignedFileUrls(4711, [TOKEN], url, clock.now), client)
            finally:
                await runner.cleanup()


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that only a test moves."""
    return FakeClock()


@pytest.fixture
def simulator() -> Simulator:
    """Return a Bot API with one file."""
    simulator = Simulator(TOKEN)
    simulator.files.store(CONTENT, FILE)
    return simulator


@pytest.fixture
async def place(simulator: Simulator, clock: FakeClock) -> AsyncIterator[Place]:
    """Yield what serves the files of the simulator."""
    async with simulator.serve() as url, serving(clock, url) as place:
        yield place


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Collect all that is logged: the token is never in it."""
    with caplog.at_level(logging.DEBUG):
        yield caplog
    assert SECRET not in caplog.text


async def test_a_file_comes_as_it_is(place: Place, simulator: Simulator) -> None:
    """With its length, and so that no browser takes it for a page."""
    status, body, headers = await place.get()
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Length"] == str(len(CONTENT))
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Disposition"] == f'attachment; filename="{FILE}.jpg"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    await place.get()
    assert [call.method for call in simulator.sent] == ["getFile"]


async def test_a_head_tells_of_the_file(place: Place) -> None:
    status, body, headers = await place.get(method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    ("part", "status", "expected"),
    [
        ("bytes=100-199", 206, CONTENT[100:200]),
        ("bytes=1000000-", 206, CONTENT[1000000:]),
        ("bytes=-10", 206, CONTENT[-10:]),
        ("bytes=9000000-", 416, b""),
        ("bytes=0-1,5-6", 200, CONTENT),
        ("lines=1-2", 200, CONTENT),
    ],
)
async def test_a_part_is_passed_on(
    place: Place, part: str, status: int, expected: bytes
) -> None:
    """One part; several of them are not."""
    found, body, headers = await place.get(Range=part)
    assert (found, body) == (status, expected)
    assert ("Content-Range" in headers) == (status == 206)


async def test_an_address_ends_after_an_hour(place: Place, clock: FakeClock) -> None:
    """And says that it did, to who had it."""
    url = place.addresses.build_url(FILE)
    clock.move(URL_TTL_SECONDS)
    assert (await place.get(url))[0] == 200
    clock.move(1.5)
    assert (await place.get(url))[:2] == (410, b"")


async def test_a_made_up_address_is_refused(place: Place, simulator: Simulator) -> None:
    """Whatever is wrong with it, Telegram is not asked."""
    good = place.addresses.build_url(FILE)
    start, _, end = good.rpartition("/")
    prefix, _, signature = start.rpartition("/")
    bot_id, expiry, signed = signature.split("-", 2)
    later = str(int(expiry) + 1)
    others = [
        f"{start}/{FILE}y",
        f"{prefix}/{bot_id}-{later}-{signed}/{end}",
        f"{prefix}/{bot_id}-{expiry}-{signed[:-2]}/{end}",
        f"{prefix}/{bot_id}-{expiry}-/{end}",
        f"{prefix}/-/{end}",
        f"{prefix}/{expiry}/{end}",
        f"{prefix}/%C3%A4%FF-%C3%A4%FF/%FF",
        f"{prefix}/{bot_id}-{expiry}-{signed}/{end}%2F..",
    ]
    for url in others:
        assert (await place.get(url))[:2] == (403, b""), url
    assert not simulator.sent
    assert (await place.get(good))[0] == 200


@given(st.text(), st.text())
def test_any_signature_is_judged(signature: str, file_id: str) -> None:
    addresses = SignedFileUrls(4711, [TOKEN], "http://files", lambda: 0.0)
    assert addresses.check_signature(signature, file_id) is SignatureCheck.INVALID


def test_another_bot_signs_otherwise() -> None:
    """The key is made of the token, and the token is in no address."""
    one, other = (
        SignedFileUrls(7, [f"{n}:key"], "http://f", lambda: 0.0) for n in (1, 2)
    )
    signature, file_id = one.build_url(FILE).rsplit("/", 2)[1:]
    assert one.check_signature(signature, file_id) is SignatureCheck.VALID
    assert other.check_signature(signature, file_id) is SignatureCheck.INVALID
    assert "key" not in one.build_url(FILE)


FAILURES: dict[str, tuple[dict[str, Any], int]] = {
    "too large": ({"status": 400, "description": "Bad Request: file is too big"}, 413),
    "gone": ({"status": 400, "description": "Bad Request: invalid file_id"}, 502),
    "token": ({"status": 401}, 502),
    "down": ({"status": 500, "times": 3}, 502),
    "flood": ({"status": 429, "retry_after": 900}, 502),
    "garbage": ({"status": 200, "body": '{"ok":true,"result":[]}'}, 502),
    "hostile": ({"status": 200, "body": f'{{"ok":true,"result":"{TOKEN}"}}'}, 502),
    "local": (
        {"status": 200, "body": '{"ok":true,"result":{"file_path":"/var/f"}}'},
        502,
    ),
    "no such place": (
        {"status": 200, "body": '{"ok":true,"result":{"file_path":"files/none"}}'},
        502,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_what_telegram_does_not_give_is_a_status(
    place: Place, simulator: Simulator, name: str
) -> None:
    """Without a word more; the next request tries again."""
    fault, status = FAILURES[name]
    simulator.fail("getFile", **fault)
    assert (await place.get())[:2] == (status, b"")
    assert (await place.get())[:2] == (200, CONTENT)


class Telegram:
    """Gives files in a way of its own."""

    def __init__(self) -> None:
        self.until = asyncio.Event()
        self.path = "f.html"
        self.size = 20_000_000
        """Of what is sent."""
        self.declared = 0
        """What getFile says of it. 0: nothing."""
        self.chunked = False
        """Its length is not said before it comes."""
        self.asked: list[str] = []
        self.sent = 0
        self.ended = 0
        self.app = web.Application()
        self.app.router.add_post("/bot{token}/getFile", self._place)
        self.app.router.add_get("/file/bot{token}/{name:.+}", self._give)
        self.mode = "endless"

    async def _place(self, request: web.Request) -> web.Response:
        file = {"file_path": self.path, "file_size": self.declared}
        return web.json_response({"ok": True, "result": file})

    async def _give(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.match_info["name"])
        if self.mode == "redirect":
            self.mode = "whole"
            raise web.HTTPFound(f"/file/bot{TOKEN}/g")
        if self.mode == "whole":
            return web.Response(body=CONTENT)
        response = web.StreamResponse()
        response.content_length = None if self.chunked else self.size
        await response.prepare(request)
        try:
            if self.mode == "torn":
                await response.write(b"x" * 1000)
                assert request.transport
                request.transport.close()
                return response
            if self.mode == "waiting":
                await self.until.wait()
            while self.sent < self.size:
                await response.write(b"x" * 100_000)
                self.sent += 100_000
                if self.mode == "dripping":
                    await asyncio.sleep(0.01)
        finally:
            self.ended += 1
        return response


@asynccontextmanager
async def telegram(
    clock: FakeClock, mode: str
) -> AsyncIterator[tuple[Telegram, Place]]:
    """Serve files of Telegram's with a behaviour."""
    source = Telegram()
    source.mode = mode
    runner = web.AppRunner(source.app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with serving(clock, url) as place:
            yield source, place
    finally:
        source.until.set()
        await runner.cleanup()


async def test_a_redirect_is_not_followed(clock: FakeClock) -> None:
    """Nor passed on: its address has the token."""
    async with telegram(clock, "redirect") as (_, place):
        status, body, headers = await place.get()
    assert (status, body) == (502, b"")
    assert "Location" not in headers


@pytest.mark.parametrize("path", ["docs/file_1.c#", "docs/a b?.txt", "docs/100%25.md"])
async def test_a_file_is_asked_for_by_its_very_path(
    clock: FakeClock, path: str
) -> None:
    """Users name files as they like: nothing in a name has a meaning in addresses."""
    async with telegram(clock, "whole") as (source, place):
        source.path = path
        status, body, _ = await place.get()
    assert (status, body, source.asked) == (200, CONTENT, [path])


async def test_a_file_that_breaks_off_is_not_taken_for_whole(clock: FakeClock) -> None:
    """The connection says so; the length was promised already."""
    async with telegram(clock, "torn") as (_, place):
        with pytest.raises(aiohttp.ClientError):
            await place.get()


@pytest.mark.parametrize(
    "path",
    [
        *("../../getMe", "docs/../../x", "..", "docs/..", "./f", "docs//f", ""),
        *("docs\\..\\..\\x", "docs/./f", "docs/"),
    ],
)
async def test_a_path_that_leaves_the_files_is_not_asked_for(
    clock: FakeClock, path: str
) -> None:
    """A hostile Bot API could lead the gateway, with its token, to another page."""
    async with telegram(clock, "whole") as (source, place):
        source.path = path
        status, body, _ = await place.get()
        assert (status, body, source.asked) == (502, b"", [])


async def test_dots_in_a_name_are_no_way_out(clock: FakeClock) -> None:
    """Users name files as they like."""
    async with telegram(clock, "whole") as (source, place):
        source.path = "docs/..a..b...txt"
        assert (await place.get())[:2] == (200, CONTENT)


@pytest.mark.parametrize(("declared", "most"), [(10, 20 << 20), (0, 1_000_000)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_no_more_is_passed_on_than_was_declared(
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    declared: int,
    most: int,
    *,
    chunked: bool,
) -> None:
    """Nor more than Telegram's own limit; whoever asked sees that it was not all."""
    monkeypatch.setattr(module, "MAX_FILE_BYTES", most)
    async with telegram(clock, "endless") as (source, place):
        source.declared, source.chunked = declared, chunked
        if not chunked:
            assert (await place.get())[:2] == (502, b"")
            return
        got = bytearray()
        async with place.client.get(place.addresses.build_url(FILE)) as response:
            with pytest.raises(aiohttp.ClientError):
                await read_into(got, response)
        assert len(got) <= (declared or most)


async def read_into(got: bytearray, response: aiohttp.ClientResponse) -> None:
    """Read what comes, and keep it also if it breaks off."""
    async for piece in response.content.iter_any():
        got += piece


async def test_a_file_of_the_declared_size_comes_whole(clock: FakeClock) -> None:
    async with telegram(clock, "endless") as (source, place):
        source.size = source.declared = 300_000
        status, body, _ = await place.get()
        assert (status, len(body)) == (200, 300_000)


async def test_a_download_that_drips_ends(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However regularly its pieces come, it gives its place to others."""
    monkeypatch.setattr(module, "MAX_DOWNLOAD_SECONDS", 0.3)
    async with telegram(clock, "dripping") as (source, place):
        with pytest.raises(aiohttp.ClientError):
            await place.get()
        await wait_until(lambda: source.ended == 1)
        assert source.sent < source.size


async def test_one_address_cannot_take_all_places(clock: FakeClock) -> None:
    """The others are served while it waits for the end of its own."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        telegram(clock, "waiting") as (source, place),
        aiohttp.ClientSession(connector=connector) as neighbour,
    ):
        source.chunked, source.size = True, 10**9
        url = place.addresses.build_url(FILE)
        running = [await place.client.get(url) for _ in range(MAX_DOWNLOADS_PER_CLIENT)]
        status, body, headers = await place.get()
        assert (status, body, headers["Retry-After"]) == (503, b"", "1")
        async with neighbour.get(url) as response:
            assert response.status == 200
        running.pop().close()
        source.until.set()  # whoever is gone is noticed when the next piece comes

        async def has_room() -> bool:
            async with place.client.get(url) as response:
                return response.status == 200

        await wait_until_found(has_room)
        for each in running:
            each.close()


async def test_who_reads_slowly_slows_telegram_down(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the file stays where it is; who leaves ends it."""
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100_000_000)
    async with telegram(clock, "endless") as (source, place):
        source.size = 100_000_000
        url = place.addresses.build_url(FILE)
        async with place.client.get(url) as response:
            await response.content.read(10)
            sent = -1
            while sent != source.sent:
                sent = source.sent
                await asyncio.sleep(0.1)
            assert sent < 50_000_000
            response.close()
        await wait_until(lambda: source.ended == 1)


async def test_a_silent_download_ends(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives its place to others."""
    monkeypatch.setattr(module, "IDLE_TIMEOUT_SECONDS", 0.2)
    async with telegram(clock, "waiting") as (_, place):
        with pytest.raises(aiohttp.ClientError):
            await place.get()


async def test_too_many_downloads_are_told_to_come_again(clock: FakeClock) -> None:
    """Those that run are not disturbed, and their end makes room."""
    async with telegram(clock, "waiting") as (source, place), AsyncExitStack() as stack:
        url = place.addresses.build_url(FILE)
        responses = []
        for number in range(MAX_DOWNLOADS // MAX_DOWNLOADS_PER_CLIENT):
            connector = aiohttp.TCPConnector(local_addr=(f"127.0.1.{number + 1}", 0))
            session = aiohttp.ClientSession(connector=connector)
            client = await stack.enter_async_context(session)
            responses += [
                await client.get(url) for _ in range(MAX_DOWNLOADS_PER_CLIENT)
            ]
        status, body, headers = await place.get()
        assert (status, body, headers["Retry-After"]) == (503, b"", "1")
        for response in responses:
            response.close()
        source.mode = "torn"

        async def has_room() -> bool:
            async with place.client.get(url) as response:
                return response.status == 200

        source.until.set()
        await wait_until(lambda: source.ended == MAX_DOWNLOADS)
        assert await has_room()


@pytest.mark.parametrize(
    "field",
    [
        field.name
        for field in contract.IncomingMessage.DESCRIPTOR.oneofs_by_name[
            "attachment"
        ].fields
    ],
)
def test_every_file_of_a_message_gets_its_address(field: str) -> None:
    """Whatever kind of attachment it is; what is no file gets none."""
    addresses = SignedFileUrls(4711, [TOKEN], "http://gateway:9000", lambda: 1000.0)
    message = contract.IncomingMessage()
    attachment = getattr(message, field)
    attachment.SetInParent()
    files = [
        name
        for name in attachment.DESCRIPTOR.fields_by_name
        if isinstance(getattr(attachment, name), contract.File)
    ]
    for name in files:
        getattr(attachment, name).file_id = name
    addresses.add_urls(message)
    for name in files:
        url: str = getattr(attachment, name).url
        assert url.startswith("http://gateway:9000/files/4711-4600-")
        assert url.endswith(f"/{name}")
    assert not files or "http" in str(message)


def test_the_files_of_an_answered_message_get_addresses_too() -> None:
    """Whoever answers a picture with "translate" means the picture."""
    addresses = SignedFileUrls(4711, [TOKEN], "http://gateway:9000", lambda: 1000.0)
    message = contract.IncomingMessage(text="translate")
    answered = message.reply_to_message.content
    answered.document.file.file_id = "f"
    addresses.add_urls(message)
    assert answered.document.file.url.startswith("http://gateway:9000/files/4711-4600-")
