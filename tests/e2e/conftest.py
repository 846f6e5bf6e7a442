"""Fixtures of the whole gateway."""

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway_harness import GatewayHarness, running_gateway


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayHarness]:
    """Yield a running gateway without a rate limit to speak of."""
    async with running_gateway() as running:
        yield running
