"""A simulator that is served over real HTTP, and a bot that calls it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.sandbox.server import Simulator
from tests.integration.sandbox.bot import TOKEN, Bot


@pytest.fixture
def simulator() -> Simulator:
    """A simulator that nothing was sent to yet."""
    return Simulator(TOKEN, username="marmot_desk_bot")


@pytest.fixture
async def bot(simulator: Simulator) -> AsyncIterator[Bot]:
    """A bot on that simulator."""
    async with simulator.serve() as url, aiohttp.ClientSession() as session:
        yield Bot(session, url)
