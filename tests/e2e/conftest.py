"""Fixtures of the whole gateway."""

from collections.abc import AsyncIterator

import pytest

from tests.support.world import World, world


@pytest.fixture
async def gateway() -> AsyncIterator[World]:
    """Yield a running gateway without a rate limit to speak of."""
    async with world() as running:
        yield running
