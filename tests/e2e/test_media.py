"""Files both ways through the whole gateway, and the token in none of it."""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_DOCUMENT,
    MEDIA_TYPE_PHOTO,
    Media,
    OutgoingMessage,
    Reply,
    Upload,
)

from gateway.sandbox.samples.media import count_bytes, send_album
from gateway.sandbox.simulator.validation.rules import Upload as SentFile
from tests.factories import build_message_json
from tests.support.gateway_harness import TOKEN, GatewayHarness, running_gateway
from tests.support.tcp_ports import free_ports

CONTENT = b"canary-of-a-file" * 1000


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayHarness]:
    """Yield a running gateway that hands files on."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    async with running_gateway(ops_port=port, files_url=url) as running:
        yield running


def answer_with(gateway: GatewayHarness, *messages: OutgoingMessage) -> None:
    """Make the services answer with these messages."""

    async def answer(rpc: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        return Reply(messages=messages)

    gateway.backend.answer = answer


async def test_a_file_of_a_service_reaches_the_user(gateway: GatewayHarness) -> None:
    """Of the largest size; it is in no log, and other answers follow."""
    content = CONTENT * 3125
    assert len(content) == 50_000_000
    file = Upload(content=content, file_name="large.bin")
    media = [Media(type=MEDIA_TYPE_DOCUMENT, upload=file)]
    answer_with(gateway, OutgoingMessage(text="Here", media=media))
    await gateway.say("give")
    await gateway.ended(1)
    (message,) = gateway.simulator.messages(7)
    assert message["document"]["file_size"] == len(content)
    assert message["caption"] == "Here"
    assert gateway.outcomes() == ["done"]
    assert "canary-of-a-file" not in str(gateway.log())


async def test_an_album_of_a_service_reaches_the_user(gateway: GatewayHarness) -> None:
    answer_with(gateway, *send_album().messages)
    await gateway.say("album")
    await gateway.ended(1)
    shown = gateway.simulator.messages(7)
    sizes = [(each["photo"][0]["width"], each["photo"][0]["height"]) for each in shown]
    assert sizes == [(128, 128)] * 3
    sent = gateway.simulator.sent[-1].parameters.values()
    names = [file.file_name for file in sent if isinstance(file, SentFile)]
    assert names == ["1.png", "2.png", "3.png"]
    assert [each.get("caption") for each in shown] == ["Three of a kind.", None, None]
    assert len({each["media_group_id"] for each in shown}) == 1


async def test_what_is_too_large_is_left_out(gateway: GatewayHarness) -> None:
    """The text is sent, and the log has a word for the rest."""
    file = Upload(content=bytes(10_000_001))
    media = [Media(type=MEDIA_TYPE_PHOTO, upload=file)]
    answer_with(gateway, OutgoingMessage(text="Look", media=media))
    await gateway.say("photo")
    await gateway.ended(1)
    assert gateway.texts() == ["Look"]
    assert "upload_too_large" in str(gateway.log())


async def test_a_private_address_is_left_out(gateway: GatewayHarness) -> None:
    """The Bot API server of this gateway is not Telegram's own."""
    media = [Media(type=MEDIA_TYPE_PHOTO, url="http://169.254.169.254/latest.jpg")]
    answer_with(gateway, OutgoingMessage(text="Look", media=media))
    await gateway.say("photo")
    await gateway.ended(1)
    assert gateway.texts() == ["Look"]
    assert "media_url_private" in str(gateway.log())


def document(file_id: str) -> dict[str, Any]:
    """Make a message with a document."""
    file = {"file_id": file_id, "file_unique_id": "u", "file_size": 16000}
    return {"message": build_message_json(document=file)}


async def test_a_file_of_a_user_reaches_the_service(gateway: GatewayHarness) -> None:
    """At an address that does not know the token, nor does anything about it."""
    gateway.simulator.files.store(CONTENT, "BQACAgAD-x_y")
    await gateway.update(document("BQACAgAD-x_y"))
    await gateway.ended(1)
    (request,) = gateway.backend.asked("SendMessage")
    url = request.message.document.file.url
    ops = re.escape(f"http://127.0.0.1:{gateway.settings.ops_port}")
    assert re.fullmatch(ops + r"/files/7400000001-\d+-[\w-]{43}/BQACAgAD-x_y", url)
    assert await count_bytes(request.message) == len(CONTENT)
    async with aiohttp.ClientSession() as client:
        async with client.get(url) as response:
            assert await response.read() == CONTENT
            assert TOKEN not in str(response.headers)
        async with client.get(url + "x") as refused:
            assert (refused.status, await refused.read()) == (403, b"")
        public = url.replace(str(gateway.settings.ops_port), str(gateway.settings.port))
        async with client.get(public) as outside:
            assert outside.status == 404
    assert TOKEN.partition(":")[2] not in str(gateway.log())


async def test_without_the_setting_there_are_no_addresses() -> None:
    async with running_gateway() as gateway:
        await gateway.update(document("BQACAgAD"))
        await gateway.ended(1)
        (request,) = gateway.backend.asked("SendMessage")
        assert request.message.document.file.file_id == "BQACAgAD"
        assert request.message.document.file.url == ""
        assert (await gateway.get("/files/1-x/BQACAgAD", ops=True))[0] == 404
