"""What somebody else writes into Redis is never taken for ours."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from gateway.domain.errors import ForgedEntry
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.domain.update import Envelope
from gateway.domain.user_state import UserState, encode_user_state
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.dead_letters import open_dead_letters
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.serialization import (
    decode_dead_letter,
    decode_envelope,
    encode_envelope,
)
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures
from tests.factories import build_envelope
from tests.integration.mailboxes.redis_store import RedisStore, opened
from tests.support.fakes import FakeClock
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS, LETTERS, LIMIT, PREFIX, SIGNATURES

ADMIN = encode_user_state(UserState(internal_user_id="admin-0001", session_until=9e9))
STRANGER = StoreSignatures(["a secret that is not ours"])


@pytest.fixture
def signatures() -> StoreSignatures:
    """Make signatures that have counted nothing yet."""
    return StoreSignatures(["the current secret", "the previous secret"])


async def with_store(
    url: str, signatures: StoreSignatures, act: Callable[[RedisStore], Awaitable[None]]
) -> None:
    """Run a test with an empty store whose mailboxes have these signatures."""
    async with opened(make_connection_factory(url)) as store:
        store.mailboxes = RedisMailboxStore(
            store.transport,
            KEYS,
            load_scripts(),
            store.clock,
            signatures,
            limit=LIMIT,
            dead_letters=LETTERS,
        )
        await act(store)


def mail(ordering_key: bytes = b"7") -> bytes:
    """Return the key of a mailbox."""
    return KEYS.get_shard(ordering_key).mailbox_key(ordering_key)


async def acquire_lease(store: RedisStore, ordering_key: str = "7") -> MailboxLease:
    """Acquire a mailbox that has updates."""
    lease = await store.mailboxes.acquire(ordering_key)
    assert isinstance(lease, MailboxLease)
    return lease


class TestStates:
    """A state says which user of the company somebody is."""

    @pytest.mark.parametrize(
        "stored",
        [
            ADMIN,
            bytes(SIGNATURE_BYTES) + ADMIN,
            STRANGER.sign_state(b"7", ADMIN),
            SIGNATURES.sign_state(b"8", ADMIN),
            SIGNATURES.sign_state(b"7", ADMIN)[:-1],
            b"",
            b"\x00",
        ],
        ids=["bare", "zeros", "stranger", "other user", "cut", "empty", "short"],
    )
    async def test_a_forged_state_is_no_state(
        self, redis_server: RedisServer, stored: bytes
    ) -> None:
        """Whatever is wrong with it, the user is a new one, and it is counted."""
        signatures = StoreSignatures(["the secret of these tests"])

        async def act(store: RedisStore) -> None:
            await store.ask("SET", KEYS.get_shard(b"7").state_key(b"7"), stored)
            lease = await store.mailboxes.put(build_envelope(1))
            assert isinstance(lease, MailboxLease)
            assert lease.state is None
            assert signatures.forged_counts["state"] == 1
            await store.mailboxes.commit(lease, 1, b"new")
            again = await store.mailboxes.put(build_envelope(2))
            assert isinstance(again, MailboxLease)
            assert again.state == b"new"
            assert signatures.forged_counts["state"] == 1

        await with_store(redis_server.url, signatures, act)

    async def test_a_genuine_state_of_one_user_is_not_anothers(
        self, redis_server: RedisServer, signatures: StoreSignatures
    ) -> None:
        """Copied by somebody who can write to Redis, but has no secret."""

        async def act(store: RedisStore) -> None:
            lease = await store.mailboxes.put(build_envelope(1, "7"))
            assert isinstance(lease, MailboxLease)
            await store.mailboxes.commit(lease, 1, ADMIN)
            stored = await store.ask("GET", KEYS.get_shard(b"7").state_key(b"7"))
            await store.ask("SET", KEYS.get_shard(b"8").state_key(b"8"), stored)
            for ordering_key, state in (("7", ADMIN), ("8", None)):
                lease = await store.mailboxes.put(build_envelope(2, ordering_key))
                assert isinstance(lease, MailboxLease)
                assert lease.state == state

        await with_store(redis_server.url, signatures, act)

    async def test_a_waiting_mailbox_has_no_forged_state_either(
        self, redis_server: RedisServer, signatures: StoreSignatures
    ) -> None:
        """A scan reads the state as well."""

        async def act(store: RedisStore) -> None:
            await store.mailboxes.put(build_envelope(1), acquire=False)
            await store.ask("SET", KEYS.get_shard(b"7").state_key(b"7"), ADMIN)
            assert (await acquire_lease(store)).state is None

        await with_store(redis_server.url, signatures, act)


FORGED_MAIL = {
    "unsigned": b"1 1790000000.0 {}",
    "no update": b"nonsense",
    "stranger": encode_envelope(build_envelope(1), STRANGER),
    "other user": encode_envelope(build_envelope(1, "8"), SIGNATURES),
    "other arrival": encode_envelope(
        build_envelope(1, arrived_at=5.0), SIGNATURES
    ).replace(b"1 5.0 ", b"1 0.0 "),
    "other body": encode_envelope(build_envelope(1, body=b"pay 1"), SIGNATURES)[:-1]
    + b"9",
}


class TestMail:
    """An update in a mailbox is what its user is taken to have said."""

    @pytest.mark.parametrize("forged", FORGED_MAIL.values(), ids=FORGED_MAIL)
    @pytest.mark.parametrize("way", ["put", "claim", "commit"])
    async def test_a_forged_update_becomes_a_dead_letter_and_the_rest_is_served(
        self, redis_server: RedisServer, forged: bytes, way: str
    ) -> None:
        """Whichever call meets it; it is never given to an actor."""
        signatures = StoreSignatures(["the secret of these tests"])

        async def act(store: RedisStore) -> None:
            head = await met_by(store, way, forged)
            assert head is not None
            assert (head.update_id, head.body) == (3, b"{}")
            assert signatures.forged_counts["update"] == 1
            (dead_letter,) = await store.dead_letters()
            assert (dead_letter.ordering_key, dead_letter.reason) == ("7", "forged")
            assert await store.in_memory() == 1

        await with_store(redis_server.url, signatures, act)

    async def test_a_mailbox_of_nothing_but_forged_updates_is_free_again(
        self, redis_server: RedisServer, signatures: StoreSignatures
    ) -> None:
        """Nothing is left of it but the dead letters."""

        async def act(store: RedisStore) -> None:
            await store.ask("ZADD", mail(), 1, "one", 2, "two")
            await store.ask("ZADD", KEYS.get_shard(b"7").pending, 0, "7")
            assert await store.mailboxes.acquire("7") is None
            assert await store.count_mailboxes() == 0
            assert [it.body for it in await store.dead_letters()] == [b"one", b"two"]
            assert isinstance(
                await store.mailboxes.put(build_envelope(3)), MailboxLease
            )

        await with_store(redis_server.url, signatures, act)

    async def test_a_genuine_update_under_a_false_score_ends_after_one_turn(
        self, redis_server: RedisServer, signatures: StoreSignatures
    ) -> None:
        """No commit would ever remove it by its id."""

        async def act(store: RedisStore) -> None:
            await store.mailboxes.put(build_envelope(1), acquire=False)
            (member,) = await store.ask("ZRANGE", mail(), 0, -1)
            await store.ask("ZADD", mail(), 5, member)
            lease = await acquire_lease(store)
            assert await store.mailboxes.commit(lease, 1, b"") is None
            assert await store.count_mailboxes() == 0
            assert [it.reason for it in await store.dead_letters()] == ["forged"]

        await with_store(redis_server.url, signatures, act)

    async def test_a_stolen_lease_ends_the_search_for_genuine_mail(
        self, redis_server: RedisServer, signatures: StoreSignatures
    ) -> None:
        """Only the owner of a mailbox removes anything from it."""

        async def act(store: RedisStore) -> None:
            await store.ask("ZADD", mail(), 1, "forged")
            await store.ask("ZADD", KEYS.get_shard(b"7").pending, 0, "7")
            asking = store.mailboxes._executor  # noqa: SLF001 - between two of its calls
            ask = asking.execute

            async def steal(*given: object) -> object:
                if await store.ask("HGET", KEYS.get_shard(b"7").leases, "7"):
                    await store.ask("HSET", KEYS.get_shard(b"7").leases, "7", "thief")
                return await ask(*given)  # type: ignore[arg-type]

            asking.execute = steal  # type: ignore[method-assign, assignment]
            assert await store.mailboxes.acquire("7") is None
            assert await store.in_memory() == 1
            assert list(await store.dead_letters()) == []

        await with_store(redis_server.url, signatures, act)


@pytest.mark.parametrize("due", ["1.5", "-inf", "-1e300"])
async def test_no_forged_time_hides_who_waits(
    redis_server: RedisServer, signatures: StoreSignatures, due: str
) -> None:
    """Those that wait are found beside a mailbox that waits for a strange time."""

    async def act(store: RedisStore) -> None:
        shard = KEYS.get_shard(b"7")
        forged = next(n for n in range(8, 10_000) if KEYS.get_shard(b"%d" % n) is shard)
        assert (
            await store.mailboxes.put(build_envelope(3), acquire=False)
            is PutResult.STORED
        )
        await store.ask("ZADD", shard.pending, due, forged)
        assert set(await store.mailboxes.claimable(10)) == {"7", str(forged)}
        assert await store.mailboxes.acquire(str(forged)) is None
        assert await store.mailboxes.claimable(10) == ["7"]

    await with_store(redis_server.url, signatures, act)


async def test_a_shard_that_cannot_be_read_hides_no_other(
    redis_server: RedisServer, signatures: StoreSignatures
) -> None:
    """Somebody else put a value of another type under one of its keys."""

    async def act(store: RedisStore) -> None:
        shard = KEYS.get_shard(b"7")
        other = next(each for each in KEYS.shards if each is not shard)
        assert (
            await store.mailboxes.put(build_envelope(3), acquire=False)
            is PutResult.STORED
        )
        await store.ask("LPUSH", other.pending, "x")
        assert await store.mailboxes.claimable(10) == ["7"]

    await with_store(redis_server.url, signatures, act)


async def met_by(store: RedisStore, way: str, forged: bytes) -> Envelope | None:
    """Put forged updates before a genuine one, and return the head that is served."""
    if way == "commit":
        lease = await store.mailboxes.put(build_envelope(0))
        assert isinstance(lease, MailboxLease)
        await store.ask("ZADD", mail(), 1, forged)
        await store.mailboxes.put(build_envelope(3))
        return await store.mailboxes.commit(lease, 0, b"")
    await store.ask("ZADD", mail(), 1, forged)
    if way == "put":
        placed = await store.mailboxes.put(build_envelope(3))
        assert isinstance(placed, MailboxLease)
        return placed.next_update
    assert (
        await store.mailboxes.put(build_envelope(3), acquire=False) is PutResult.STORED
    )
    return (await acquire_lease(store)).next_update


class TestDeadLetters:
    """A person replays them: that must not be a way in."""

    async def test_a_forged_dead_letter_is_listed_but_not_given(
        self, redis_server: RedisServer
    ) -> None:
        """Neither one from a mailbox nor one that somebody wrote there."""
        shard = KEYS.get_shard(b"7")
        async with (
            opened(make_connection_factory(redis_server.url)) as store,
            open_dead_letters(
                redis_server.url, PREFIX, FakeClock(), SIGNATURES
            ) as dead_letters,
        ):
            await store.ask("ZADD", mail(), 1, FORGED_MAIL["stranger"])
            await store.ask("ZADD", shard.pending, 0, "7")
            await store.mailboxes.acquire("7")
            fields = ("ordering_key", "7", "reason", "crashed", "time", "1")
            await store.ask(
                "XADD", shard.dead_letters, "*", *fields, "envelope", "1 0 {}"
            )
            await store.ask("XADD", shard.dead_letters, "*", "other", "fields")
            found = await dead_letters.list_summaries()
            assert len(found) == 3
            for summary in found:
                with pytest.raises(ForgedEntry):
                    await dead_letters.get(summary.dead_letter_id)

    @pytest.mark.parametrize("time", ["nan", "inf", "-1e300", "1e300", "soon"])
    @pytest.mark.parametrize("stored", ["  {}", " ", "-1 0 {}", "1_000 0 {}"])
    def test_no_forged_dead_letter_hides_the_others(
        self, time: str, stored: str
    ) -> None:
        """Each has an id and a time that can be shown."""
        fields = (
            "ordering_key",
            "7",
            "reason",
            "crashed",
            "time",
            time,
            "envelope",
            stored,
        )
        dead_letter = decode_dead_letter([field.encode() for field in fields])
        assert dead_letter.dead_lettered_at == 0
        assert datetime.fromtimestamp(dead_letter.dead_lettered_at, UTC).year == 1970

    async def test_what_a_gateway_dead_lettered_can_be_replayed(
        self, redis_server: RedisServer
    ) -> None:
        """From a mailbox, with the signature that it had there."""
        async with (
            opened(make_connection_factory(redis_server.url)) as store,
            open_dead_letters(
                redis_server.url, PREFIX, FakeClock(), SIGNATURES
            ) as dead_letters,
        ):
            lease = await store.mailboxes.put(build_envelope(5, body=b"text"))
            assert isinstance(lease, MailboxLease)
            await store.mailboxes.commit(lease, 5, b"", dead_letter_reason="poison")
            (summary,) = await dead_letters.list_summaries()
            got = await dead_letters.get(summary.dead_letter_id)
            assert got is not None
            back = build_envelope(5, body=got.body, arrived_at=None)
            await dead_letters.replay(summary.dead_letter_id, back)
            assert (await acquire_lease(store)).next_update.body == b"text"


class TestSecrets:
    """They can be changed without a loss."""

    def test_what_the_previous_secret_signed_is_accepted(
        self, signatures: StoreSignatures
    ) -> None:
        """And what is signed from now on is signed with the current one."""
        before = StoreSignatures(["the previous secret"])
        after = StoreSignatures(["the current secret"])
        assert signatures.verify_state(b"7", before.sign_state(b"7", b"x")) == b"x"
        stored = encode_envelope(build_envelope(1), before)
        assert decode_envelope(stored, "7", signatures).update_id == 1
        assert after.verify_state(b"7", signatures.sign_state(b"7", b"x")) == b"x"
        assert before.verify_state(b"7", signatures.sign_state(b"7", b"x")) is None

    def test_a_signature_for_one_purpose_is_none_for_another(
        self, signatures: StoreSignatures
    ) -> None:
        """A state that looks like mail is no mail."""
        for purpose in Purpose:
            signature = signatures.sign(purpose, b"7", b"1 0 {}")
            fitting = [
                other
                for other in Purpose
                if signatures.verify(other, b"7", signature, b"1 0 {}")
            ]
            assert fitting == [purpose]

    def test_the_ordering_key_does_not_run_into_the_content(
        self, signatures: StoreSignatures
    ) -> None:
        """The same bytes, divided elsewhere, are something else."""
        signature = signatures.sign(Purpose.UPDATE, b"7", b"81 0 {}")
        assert not signatures.verify(Purpose.UPDATE, b"78", signature, b"1 0 {}")

    @pytest.mark.parametrize("secrets", [[], [""], ["good enough", ""]])
    def test_an_empty_secret_is_refused(self, secrets: list[str]) -> None:
        """It would let anybody sign."""
        with pytest.raises(ValueError, match="empty secret"):
            StoreSignatures(secrets)

    def test_what_is_forged_is_logged_without_its_content(
        self, signatures: StoreSignatures, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An ordering key that somebody made up may be long."""
        signatures.verify_state(b"9" * 1000, b"what the user wrote, and more of it")
        (record,) = caplog.records
        assert record.__dict__["purpose"] == "state"
        assert record.__dict__["ordering_key"] == "9" * 32
        assert "wrote" not in str(record.__dict__)
