"""The gateway with mailboxes in memory that remembers many users from the start.

    python -m benchmarks.crowded FIRST_USER USERS REMEMBERED serve

To meet a million users takes a quarter of an hour, so the mailboxes are filled before
anything listens: by their own put and commit, as updates do it. What is in them is as
little a matter of the garbage collector as what comes later: it never looks into
states, and what holds them it spares from the start (`gc.freeze`).
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.seeding import serve
from gateway import bootstrap
from gateway.cli import main
from gateway.mailboxes.factory import OpenedMailboxes, open_mailboxes


@asynccontextmanager
async def _open_crowded(*given: Any, **more: Any) -> AsyncIterator[OpenedMailboxes]:  # noqa: ANN401 - handed on as they are
    async with open_mailboxes(*given, **more) as store:
        await serve(
            store.mailboxes,
            first_user=_first_user,
            users=_users,
            remembered=_remembered,
        )
        yield store


if __name__ == "__main__":
    _first_user, _users, _remembered = map(int, sys.argv[1:4])
    del sys.argv[1:4]
    bootstrap.open_mailboxes = _open_crowded  # type: ignore[attr-defined]  # that is the point
    main.main()
