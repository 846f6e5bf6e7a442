"""An actor with everything around it."""

from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.update_processor import UpdateProcessor
from gateway.actors.user_actor import UserActor
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import Envelope, Update
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.memory.recipients import MemoryRecipientIndex
from gateway.mailboxes.stream_cancellation import LocalCancellationBus
from tests.factories import build_message
from tests.support.deliveries import build_delivery_processor
from tests.support.fakes import (
    FakeClock,
    FakeLease,
    FakeMessenger,
    FakeServices,
    Turns,
    an_answering,
)

PATIENCE = 120
"""REPLY_PATIENCE in these tests."""


class Harness:
    """An actor with everything around it."""

    def __init__(self, requests: int = 100) -> None:
        self.clock = FakeClock()
        self.mailboxes = MemoryMailboxStore(self.clock, limit=64, max_sessions=100)
        self.deliveries = MemoryDeliveryStore(self.mailboxes, self.clock, limit=64)
        self.recipients = MemoryRecipientIndex(100)
        self.services = FakeServices()
        self.messenger = FakeMessenger()
        self.turns = Turns()
        self.stops = LocalCancellationBus()
        self.read_at: list[float] = []
        self.useful_seconds: float | None = None
        self.leases: list[MailboxLease] = []
        """Under which updates were served."""
        self.reply_sender = ReplySender(
            self.messenger, self.services, self.clock, patience=PATIENCE
        )
        self.actor = UserActor(
            self.mailboxes,
            UpdateProcessor(
                self.services,
                an_answering(
                    self.services,
                    self.messenger,
                    self.clock,
                    self.stops,
                    self.recipients,
                ),
                self.reply_sender,
                RateLimiter(requests, 1),
                clock=self.clock,
                parse_update=self.read,
            ),
            build_delivery_processor(
                self.messenger, self.services, self.deliveries, self.clock
            ),
            clock=self.clock,
            observe_update=self.turns.append,
        )

    def read(self, body: bytes, arrived: float) -> Update:
        """Read an envelope that has lost its update."""
        self.read_at.append(arrived)
        useful = self.useful_seconds
        return build_message(int(body), "read again", ttl_seconds=useful)

    async def serve(self, *envelopes: Envelope) -> FakeLease:
        """Put updates of one mailbox and serve them."""
        lease = await self.mailboxes.put(envelopes[0])
        assert isinstance(lease, MailboxLease)
        for envelope in envelopes[1:]:
            await self.mailboxes.put(envelope)
        self.leases.append(lease)
        held = FakeLease(lease)
        await self.actor.serve_mailbox(held, held.should_release)
        return held
