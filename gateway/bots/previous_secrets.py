"""Ends the time for which the previous webhook secret of a bot is still accepted.

A previous secret may have leaked, so its time must not begin again when its bot is
built again, in another process or after a restart. Within a process each previous
secret is remembered. Beyond it, the time begins when the file of the secret was
written, and the process that ends a secret deletes that file.

Concurrency: the task that watches BOTS_FILE calls `limit`. Files are deleted in a
thread.
"""

import asyncio
import logging
import time
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from gateway.config.bots import BotConfig
from gateway.config.bots_editor import delete_secret_file
from gateway.domain.errors import ConfigurationError
from gateway.telegram.previous_secret import MAX_PREVIOUS_SECONDS, PreviousSecret

logger = logging.getLogger(__name__)


class _KnownSecret(Struct, frozen=True, eq=False):
    """A previous secret that a bot has or had.

    Attributes:
        digest: the digest of the secret, which outlives the secret.
        secret: the secret, which all builds of the bot share.
    """

    digest: bytes
    secret: PreviousSecret


class _AcceptedSecret(Struct, frozen=True, eq=False):
    """A previous secret that is still accepted.

    Attributes:
        bot: the name of its bot.
        text: the secret.
        secret: the same secret, which all builds of the bot share.
        file: the file with the secret; None if it is in a variable.
    """

    bot: str
    text: str
    secret: PreviousSecret
    file: Path | None


class PreviousSecrets:
    """The previous webhook secrets of all bots of a process, and their ends."""

    def __init__(self) -> None:
        self._known: dict[int, _KnownSecret] = {}
        """The latest previous secret of each bot, by the id of the bot."""
        self._accepted: list[_AcceptedSecret] = []

    def find(self, config: BotConfig) -> PreviousSecret | None:
        """Return the previous secret of a bot, or None if its configuration has none.

        The same secret gets the same object each time, so its time does not begin anew.
        """
        if len(config.webhook_secrets) < 2:
            return None
        text = config.webhook_secrets[1]
        digest = sha256(text.encode()).digest()
        known = self._known.get(config.id)
        if known is not None and known.digest == digest:
            return known.secret
        seconds = MAX_PREVIOUS_SECONDS
        file = config.previous_file
        if file is not None:
            seconds -= max(0.0, time.time() - file.written_at)
        now = time.monotonic()
        secret = PreviousSecret(text, now + seconds)
        # An old file must not be accepted until the next look at the bots.
        secret.limit(now)
        self._known[config.id] = _KnownSecret(digest, secret)
        self._accepted.append(
            _AcceptedSecret(config.name, text, secret, file.path if file else None)
        )
        return secret

    async def limit(self) -> None:
        """Stop to accept the secrets whose time is over, and delete their files.

        A file that cannot be deleted is logged, and stays.
        """
        now = time.monotonic()
        for accepted in self._accepted:
            accepted.secret.limit(now)
        ended = [it for it in self._accepted if it.secret.is_ended]
        if not ended:
            return
        self._accepted = [it for it in self._accepted if not it.secret.is_ended]
        for accepted in ended:
            if accepted.file is not None:
                await self._delete(accepted, accepted.file)

    async def _delete(self, accepted: _AcceptedSecret, file: Path) -> None:
        try:
            await asyncio.to_thread(delete_secret_file, file, accepted.text)
        except ConfigurationError as error:
            # The directory may be read-only. A restart goes by the time of the file.
            logger.warning(
                "previous_secret_not_deleted",
                extra={"bot": accepted.bot, "error": str(error)},
            )
        else:
            logger.info("previous_secret_ended", extra={"bot": accepted.bot})
