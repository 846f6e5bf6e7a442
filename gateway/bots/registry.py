"""The bots that run in this process, found by the ordering key of a mailbox."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

from gateway.actors.leases import ActorLease
from gateway.bots.bot import Bot
from gateway.config.bots import BotConfig
from gateway.domain.update import Envelope
from gateway.telegram.polling import UpdatePoller
from gateway.telegram.webhook import WEBHOOK_PATH, WebhookTarget


class BotRegistry:
    """The bots of this process. Iterating yields them.

    Ordering keys begin with the id of the bot, so each finds its bot by one lookup.

    Attributes:
        webhook_targets: the receivers of webhook requests, by path. The dictionary is
            changed in place when the bots change.
    """

    def __init__(self) -> None:
        self._bots: dict[str, Bot] = {}
        """The bots by id, as it is written in ordering keys."""
        self._retired: dict[str, Bot] = {}
        """The latest of the bots with each id that were replaced or removed. An actor
        of a removed one may be about to start."""
        self.webhook_targets: dict[str, WebhookTarget] = {}

    def __iter__(self) -> Iterator[Bot]:
        return iter(self._bots.values())

    def __len__(self) -> int:
        return len(self._bots)

    @property
    def by_name(self) -> Mapping[str, Bot]:
        """The bots by name; the bot of the environment has an empty name."""
        return {bot.config.name: bot for bot in self}

    def get(self, bot_id: int) -> Bot | None:
        """Return the bot with a Telegram user id, or None if it does not run here."""
        return self._bots.get(str(bot_id))

    def find_config(self, bot_id: int) -> BotConfig | None:
        """Return the configuration of the bot with a Telegram user id, or None."""
        bot = self.get(bot_id)
        return bot.config if bot is not None else None

    def find_name(self, bot_id: int) -> str | None:
        """Return the name of the bot with a Telegram user id.

        None if it does not run here; an empty string for the bot of the environment.
        """
        bot = self.get(bot_id)
        return bot.config.name if bot is not None else None

    def find_pollers(self) -> Mapping[int, UpdatePoller]:
        """Return the pollers that have to run, by the ids of their bots.

        A bot that is paused is not polled: Telegram keeps its updates for 24 hours.
        """
        return {
            bot.config.id: bot.poller
            for bot in self
            if bot.poller is not None and not bot.config.is_paused
        }

    def update(self, added: Iterable[Bot], removed: Iterable[Bot] = ()) -> None:
        """Add bots, each in place of the one with its id, and remove others.

        The running actors of bots that were replaced or removed finish their present
        update, and then release their mailboxes.

        Args:
            added: new bots, or new versions of running ones.
            removed: running bots that no new one replaces.
        """
        for bot in removed:
            self._retire(bot)
            del self._bots[str(bot.config.id)]
        for bot in added:
            bot_id = str(bot.config.id)
            if (previous := self._bots.get(bot_id)) is not None:
                self._retire(previous)
            self._bots[bot_id] = bot
        self._index_targets()

    def serves(self, ordering_key: str) -> bool:
        """Return whether the bot of a mailbox runs here and is not paused."""
        bot = self._bots.get(ordering_key.partition("/")[0])
        return bot is not None and not bot.config.is_paused

    def serve_mailbox(
        self, lease: ActorLease, should_release: Callable[[int], bool]
    ) -> Coroutine[Any, Any, None]:
        """Process the mail of a mailbox with the actor of its bot.

        See `UserActor.serve_mailbox`. A bot that was just removed is found as well.
        """
        bot_id, _, _ = lease.mailbox_lease.ordering_key.partition("/")
        bot = self._bots.get(bot_id) or self._retired[bot_id]
        return bot.actor.serve_mailbox(lease, should_release)

    def report_refused(self, envelope: Envelope) -> None:
        """Count an update that a full mailbox refused, and notify its user.

        See `FullMailboxNotifier.report_refused`. Has no effect if the bot does not run
        here.
        """
        bot = self._bots.get(envelope.ordering_key.partition("/")[0])
        if bot is not None:
            bot.notifier.report_refused(envelope)

    def stop_stream(self, ordering_key: str, draft_id: int) -> None:
        """Stop a streamed reply, if its bot runs here. See `StreamRunner.stop`."""
        bot_id, _, _ = ordering_key.partition("/")
        # A bot also stops the streams of those that it replaced.
        bot = self._bots.get(bot_id) or self._retired.get(bot_id)
        if bot is not None:
            bot.stream_runner.stop(ordering_key, draft_id)

    async def close(self) -> None:
        """Cancel the notices that are being sent to users with a full mailbox."""
        for bot in [*self, *self._retired.values()]:
            await bot.notifier.close()

    def _retire(self, bot: Bot) -> None:
        bot.actor.is_retired = True
        self._retired[str(bot.config.id)] = bot

    def _index_targets(self) -> None:
        """Assign the paths: `WEBHOOK_PATH` belongs to the only bot if there is one."""
        targets = {
            f"{WEBHOOK_PATH}/{bot.config.name}": bot.webhook_target
            for bot in self
            if bot.webhook_target and bot.config.name
        }
        bots = list(self)
        if len(bots) == 1 and bots[0].webhook_target:
            targets[WEBHOOK_PATH] = bots[0].webhook_target
        # In place: the webhook keeps this dictionary.
        self.webhook_targets.clear()
        self.webhook_targets.update(targets)
