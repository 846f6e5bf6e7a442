"""Learning the bot's name, over real HTTP."""

import asyncio

from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.client import open_bot_api
from gateway.telegram.bot_api.profile_sync import BotProfile, sync_profiles
from tests.support.waiting import wait_until

TOKEN = "4711:account-token"
RENAMED = '{"ok": true, "result": {"id": 4711, "username": "marmot_desk_bot"}}'


async def test_a_new_name_is_learned_while_the_gateway_runs() -> None:
    """And the menu is not published again for it."""
    simulator = Simulator(TOKEN)
    names: list[str] = []
    async with simulator.serve() as url, open_bot_api(TOKEN, url) as api:
        profile = BotProfile(api, [("start", "Go")], names.append, username_ttl=0)
        known = asyncio.Event()
        task = asyncio.create_task(sync_profiles(lambda: [profile], known))
        try:
            await known.wait()
            assert names == ["sandbox_bot"]
            simulator.fail("getMe", 200, body=RENAMED)
            await wait_until(lambda: "marmot_desk_bot" in names)
        finally:
            task.cancel()
            await asyncio.wait([task])
    methods = [sent.method for sent in simulator.sent]
    assert methods.count("setMyCommands") == 1
