"""The clients of several bots share their connections."""

import pytest

from gateway.domain.errors import BotApiUnavailable, InvalidBotToken
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.connections import BotApiConnections
from tests.support.bot_api import FakeBotApi, make_token

FIRST, SECOND = make_token(1), make_token(2)
HELLO = {"chat_id": 7, "text": "Hello"}
LIMITED = {
    "ok": False,
    "error_code": 429,
    "description": "Too Many Requests: retry after 60",
    "parameters": {"retry_after": 60},
}


async def test_several_bots_share_connections_and_no_cool_down() -> None:
    """A 429 of one bot in a chat does not delay another bot in the same chat."""
    telegram = FakeBotApi([FIRST, SECOND])
    telegram.bots[1].answers["sendMessage"].append(LIMITED)
    async with telegram.serve() as url, BotApiConnections(url) as connections:
        first = BotApiClient(FIRST, connections)
        second = BotApiClient(SECOND, connections)
        for _ in range(2):
            with pytest.raises(BotApiUnavailable):
                await first.call("sendMessage", HELLO, patience=0)
        await second.call("sendMessage", HELLO, patience=0)
        assert len(connections.pool._connections) == 1  # noqa: SLF001 - nothing else shows what is shared
    assert telegram.bots[1].count("sendMessage") == 1
    assert telegram.bots[2].texts(7) == ["Hello"]


async def test_a_client_takes_another_token_of_its_bot() -> None:
    telegram = FakeBotApi([FIRST, SECOND])
    async with telegram.serve() as url, BotApiConnections(url) as connections:
        first = BotApiClient(FIRST, connections)
        second = BotApiClient(SECOND, connections)
        await first.call("getMe", {})
        telegram.bots[1].token = make_token(1, "AAthe-next-key")
        with pytest.raises(InvalidBotToken):
            await first.call("getMe", {})
        await second.call("getMe", {})
        assert (first.is_authorized, second.is_authorized) == (False, True)
        first.set_token(telegram.bots[1].token)
        await first.call("getMe", {})
        assert first.is_authorized
