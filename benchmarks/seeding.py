"""Users who were served before: their states, written as a gateway writes them."""

import asyncio
import time

from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import MailboxStore
from gateway.domain.update import Envelope
from gateway.domain.user_state import UserState, encode_user_state

AT_ONCE = 500
_BODY = b"x" * 400


async def serve(
    mailboxes: MailboxStore,
    *,
    bot_id: int = 1,
    first_user: int,
    users: int,
    remembered: int,
) -> None:
    """Put an update of each user and commit it, with the state of one in a session.

    Args:
        mailboxes: where they are put.
        bot_id: the id of the bot.
        first_user: the id of the first one.
        users: how many; their ids follow one another.
        remembered: how many ids of handled updates the states hold.

    Raises:
        TypeError: a user had mail.
    """
    now = time.time()
    left = iter(range(users))
    state = UserState(
        internal_user_id="00000000-0000-4000-8000-000000000000",
        session_until=now + 86400,
        tokens=0.123,
        bucket_updated_at=now,
        recent_ids=[900_000_000 + number for number in range(remembered)],
        recent_times=[int(now)],
    )
    stored = encode_user_state(state)

    async def work() -> None:
        for user in left:
            ordering_key = f"{bot_id}/{first_user + user}"
            envelope = Envelope(
                update_id=user, ordering_key=ordering_key, arrived_at=now, body=_BODY
            )
            claim = await mailboxes.put(envelope)
            if not isinstance(claim, MailboxLease):
                raise TypeError("the mailbox of a new user is not free")
            # A copy of its own, as if it had been encoded for this user.
            await mailboxes.commit(claim, user, bytes(bytearray(stored)))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
