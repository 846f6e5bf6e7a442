"""The history of the contracts, in Redis, in a folder and in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from msgspec import structs
from redis.asyncio import Redis

from gateway.clock import SystemClock
from gateway.contracts.local_history import (
    FolderContractHistory,
    MemoryContractHistory,
)
from gateway.domain.contract_history import (
    KEPT_GENERATIONS,
    ContractFile,
    ContractGeneration,
    ContractHistory,
    list_generations,
)
from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.contract_history import open_redis_history
from gateway.mailboxes.signatures import StoreSignatures
from tests.support.redis_servers import RedisServer
from tests.support.stores import SIGNATURES

FIRST = ContractGeneration(
    number=1,
    accepted_at=1.5,
    digest="one",
    files=(ContractFile("a.binpb", b"\0content"), ContractFile("builtin")),
    withdrawn=("other",),
)


Opened = Callable[[], AbstractAsyncContextManager[ContractHistory]]


@pytest.fixture(params=["memory", "folder", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return what opens an empty history of each kind."""

    @contextlib.asynccontextmanager
    async def open_history() -> AsyncIterator[ContractHistory]:
        if request.param == "memory":
            yield MemoryContractHistory()
        elif request.param == "folder":
            yield FolderContractHistory(tmp_path / "new" / "history")
        else:
            url = request.getfixturevalue("redis").url
            async with open_redis_history(url, "tg", SIGNATURES, SystemClock()) as it:
                yield it

    return open_history


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_the_latest_generations_are_kept(opened: Opened) -> None:
    async with opened() as history:
        assert await history.find_current_number() == 0
        assert await history.get_generation(0) is None
        assert await list_generations(history) == []
        newest = KEPT_GENERATIONS + 2
        for number in range(1, newest + 1):
            assert await history.add_generation(structs.replace(FIRST, number=number))
            assert await history.find_current_number() == number
        kept = await list_generations(history)
        assert [it.number for it in kept] == list(range(newest, 2, -1))
        assert kept[0] == structs.replace(FIRST, number=newest)
        assert await history.get_generation(2) is None


async def test_one_of_two_gateways_is_faster(opened: Opened) -> None:
    """Also for the first generation."""
    async with opened() as history:
        other = structs.replace(FIRST, digest="two")
        for number in (1, 2):
            added = await asyncio.gather(
                *(
                    history.add_generation(structs.replace(it, number=number))
                    for it in (FIRST, other)
                )
            )
            assert sorted(added) == [False, True]
            current = await history.get_generation(number)
            assert current is not None
            assert current.digest == ("one" if added[0] else "two")
        assert not await history.add_generation(structs.replace(FIRST, number=4))
        assert not await history.add_generation(structs.replace(other, number=1))
        assert await history.find_current_number() == 2


async def test_an_emptied_history_goes_on_with_any_number(
    opened: Opened,
) -> None:
    """The gateways remember the number of the generation that they serve."""
    async with opened() as history:
        assert await history.add_generation(structs.replace(FIRST, number=7))
        assert await history.find_current_number() == 7


async def test_a_generation_that_nobody_signed_does_not_exist(
    redis: RedisServer,
) -> None:
    signatures = StoreSignatures(["a-secret-of-this-test"])
    async with (
        open_redis_history(redis.url, "tg", signatures, SystemClock()) as history,
        Redis.from_url(redis.url) as client,
    ):
        assert await history.add_generation(FIRST)
        entry = await client.hget("tg:{0}:contracts", "1")
        assert entry is not None
        await client.hset("tg:{0}:contracts", "2", entry)
        assert await history.get_generation(2) is None
        assert signatures.forged_counts["contracts"] == 1
        assert await history.get_generation(1) == FIRST


async def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = FolderContractHistory(tmp_path / "file" / "history")
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await history.add_generation(FIRST)
