"""Name, command menu and webhook, over real HTTP."""

from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import BotApiUnavailable
from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.bot_settings import (
    delete_webhook,
    get_me,
    get_webhook_info,
    set_my_commands,
    set_webhook,
)
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api

TOKEN = "4711:account-token"


@pytest.fixture
def simulator() -> Simulator:
    """Return a Bot API without faults."""
    return Simulator(TOKEN)


@pytest.fixture
async def api(simulator: Simulator) -> AsyncIterator[BotApiClient]:
    """Yield a client of it."""
    async with simulator.serve() as url, open_bot_api(TOKEN, url) as api:
        yield api


@pytest.mark.parametrize("body", ['{"ok": true}', '{"ok": true, "result": 1}'])
async def test_an_answer_of_something_else_is_an_error_of_ours(
    api: BotApiClient, simulator: Simulator, body: str
) -> None:
    """A captive portal or a wrong address may answer anything."""
    simulator.fail("getMe", 200, body=body)
    with pytest.raises(BotApiUnavailable):
        await get_me(api)


async def test_the_bot_knows_its_name(api: BotApiClient) -> None:
    """Commands in groups may name it."""
    assert await get_me(api) == (4711, "sandbox_bot")


async def test_the_command_menu_is_published(
    api: BotApiClient, simulator: Simulator
) -> None:
    await set_my_commands(api, [("start", "Start the bot"), ("help", "Show help")])
    assert simulator.sent[-1].parameters["commands"] == [
        {"command": "start", "description": "Start the bot"},
        {"command": "help", "description": "Show help"},
    ]


async def test_the_webhook_is_set_shown_and_deleted(
    api: BotApiClient, simulator: Simulator
) -> None:
    """Updates that wait are only dropped when asked for."""
    simulator.webhook["pending_update_count"] = 3
    await set_webhook(api, "https://example.com/hook", "s3cret")
    assert simulator.secret_token == "s3cret"
    info = await get_webhook_info(api)
    assert (info.url, info.max_connections) == ("https://example.com/hook", 40)
    assert info.pending_update_count == 3
    await delete_webhook(api, drop_pending_updates=True)
    info = await get_webhook_info(api)
    assert (info.url, info.pending_update_count) == ("", 0)
