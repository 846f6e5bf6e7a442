"""The lease of a mailbox."""

from gateway.domain.mailbox_lease import MailboxLease
from tests.factories import build_accepted


def test_a_lease_shows_nothing_of_its_update() -> None:
    """asyncio logs the arguments of a callback that fails."""
    lease = MailboxLease("7", "token", b"state", build_accepted(1, "hush"), 0)
    assert repr(lease) == "MailboxLease('7')"
