"""Every test that asks for `store` or `mailboxes` runs over every implementation."""

from collections.abc import AsyncIterator

import pytest

from gateway.domain.ports import Mailboxes
from tests.mailboxes.stores import STORES, OpenStore, Store


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Give the way to open an empty store of each implementation."""
    return STORES[request.param]


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
    """Open an empty store."""
    async with open_store() as opened:
        yield opened


@pytest.fixture
def mailboxes(store: Store) -> Mailboxes:
    """Give the mailboxes of an empty store."""
    return store.mailboxes
