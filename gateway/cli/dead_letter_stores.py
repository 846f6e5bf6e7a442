"""Opens the dead letters for the command line: those in Redis, or in DATA_DIR."""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Protocol

from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.domain.delivery import Delivery
from gateway.domain.errors import ConfigurationError
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.dead_letter_listing import DeadLetterSummary
from gateway.mailboxes.redis.dead_letters import DeadLetterId, open_dead_letters
from gateway.mailboxes.signatures import StoreSignatures
from gateway.mailboxes.sqlite.dead_letter_access import open_sqlite_dead_letters
from gateway.mailboxes.sqlite.store import SqliteFile


class DeadLetterStore(Protocol):
    """The dead letters in Redis or in a file. The ids of each are of another type."""

    async def list_summaries(
        self,
        *,
        reason: str | None = None,
        bot_ids: Collection[int] | None = None,
        limit: int | None = None,
    ) -> list[DeadLetterSummary]:
        """Return dead letters without their texts, oldest first.

        Args:
            reason: only those with this reason; None for all.
            bot_ids: only those of these bots; None for all.
            limit: the maximum number; None for any number.
        """

    async def get(self, dead_letter_id: Any) -> DeadLetter | None:  # noqa: ANN401
        """Return a dead letter, or None if there is none with this id.

        Raises:
            ForgedEntry: no gateway with these settings wrote it.
        """

    async def delete(self, dead_letter_id: Any) -> bool:  # noqa: ANN401
        """Remove a dead letter. Return False if there is none with this id."""

    async def replay(self, dead_letter_id: Any, envelope: Envelope) -> None:  # noqa: ANN401
        """Put the update of a dead letter into its mailbox, and remove the dead letter.

        Args:
            dead_letter_id: the id of the dead letter.
            envelope: the update.
        """

    async def replay_delivery(self, dead_letter_id: Any, delivery: Delivery) -> bool:  # noqa: ANN401
        """Put a dead letter's delivery into its mailbox, and remove the dead letter.

        Messages that were sent already are not sent again.

        Returns:
            Whether it was put there. If not, the dead letter stays: the delivery has
            not failed, or its mailbox is full.
        """


@asynccontextmanager
async def open_dead_letter_store(settings: Settings) -> AsyncIterator[DeadLetterStore]:
    """Open the dead letters for the duration of the block.

    Raises:
        ConfigurationError: neither REDIS_URL nor DATA_DIR is set, so the dead letters
            are in the memory of the gateway.
    """
    if settings.store_url is not None:
        signatures = StoreSignatures(settings.store_secrets)
        async with open_dead_letters(
            settings.store_url, settings.redis_key_prefix, SystemClock(), signatures
        ) as in_redis:
            yield in_redis
    elif settings.data_dir is not None:
        file = SqliteFile(settings.data_dir, settings.data_synchronous)
        async with open_sqlite_dead_letters(file, SystemClock()) as in_file:
            yield in_file
    else:
        problem = "neither DATA_DIR nor REDIS_URL is set: dead letters in memory end"
        raise ConfigurationError([f"{problem} with their process"])


def parse_dead_letter_id(text: str, settings: Settings) -> Any:  # noqa: ANN401
    """Return the id of a dead letter that `dead-letters list` prints as this text.

    Args:
        text: the printed id.
        settings: the gateway's settings, which decide the type of the id: a
            `DeadLetterId` in Redis, a number in a file.

    Raises:
        ValueError: the text is not an id in this store.
    """
    if settings.store_url is not None or settings.data_dir is None:
        return DeadLetterId.parse(text)
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError("not the id of a dead letter")
    return int(text)
