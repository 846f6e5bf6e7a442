"""Learning the bot's name, over real HTTP."""

import asyncio

from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.client import open_bot_api
from gateway.telegram.bot_api.profile_sync import (
    MAX_SIMULTANEOUS_BOTS,
    BotProfile,
    sync_profiles,
)
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


async def test_a_bot_that_is_built_again_calls_nothing_that_is_done() -> None:
    """Only another menu is published, and another token is checked."""
    simulator = Simulator(TOKEN)
    names: list[str] = []
    async with simulator.serve() as url, open_bot_api(TOKEN, url) as api:
        first = BotProfile(api, [("start", "Go")], names.append)
        await synchronize(first)
        same = BotProfile(api, [("start", "Go")], names.append, previous=first)
        assert same.is_username_known
        assert not same.is_due(asyncio.get_running_loop().time())
        await synchronize(same)
        other = BotProfile(api, [("stop", "No")], names.append, previous=same)
        assert other.is_due(asyncio.get_running_loop().time())
        await synchronize(other)
        methods = [sent.method for sent in simulator.sent]
        assert methods == ["getMe", "setMyCommands", "setMyCommands"]
        await synchronize(BotProfile(api, [("stop", "No")], names.append))
    assert len(simulator.sent) == 5


async def test_all_usernames_are_known_before_a_menu_is_published() -> None:
    """The start waits for them: half of the calls can follow."""
    simulator = Simulator(TOKEN)
    async with simulator.serve() as url, open_bot_api(TOKEN, url) as api:
        profiles = [
            BotProfile(api, [("start", "Go")], lambda _: None)
            for _ in range(2 * MAX_SIMULTANEOUS_BOTS)
        ]
        task = asyncio.create_task(sync_profiles(lambda: profiles, asyncio.Event()))
        try:
            await wait_until(lambda: len(simulator.sent) == 2 * len(profiles))
        finally:
            task.cancel()
            await asyncio.wait([task])
    methods = [sent.method for sent in simulator.sent]
    count = len(profiles)
    assert methods == ["getMe"] * count + ["setMyCommands"] * count


async def synchronize(profile: BotProfile) -> None:
    """Synchronize one profile."""
    await profile.refresh_username()
    await profile.publish_menu()
