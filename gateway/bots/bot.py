"""The components of one bot, from the receipt of its updates to its Bot API calls."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from msgspec import Struct

from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.full_mailbox_notices import FullMailboxNotifier
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.service_call import ServiceCaller
from gateway.actors.replies.streaming import StreamRunner
from gateway.actors.replies.typing_indicator import TypingIndicator, make_typing_timer
from gateway.actors.update_processor import UpdateProcessor
from gateway.actors.user_actor import UserActor
from gateway.bots.delivery_composition import create_delivery_processor
from gateway.bots.editor import BotEditor
from gateway.bots.managed_bots import AdoptingRouter, BotAdoption
from gateway.bots.offered_updates import list_offered_updates
from gateway.bots.previous_secrets import PreviousSecrets
from gateway.config.bots import BotConfig
from gateway.config.settings import Settings
from gateway.domain.instrumentation import Instrumentation
from gateway.domain.message_handles import MessageHandles
from gateway.domain.ports import ServiceRouter
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import Envelope
from gateway.mailboxes.factory import OpenedMailboxes
from gateway.observability.logging import log_update
from gateway.observability.metrics import Metrics
from gateway.services.button_signatures import ButtonSigner
from gateway.services.delivery_calls import DeliveryCalls
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.connections import BotApiConnections
from gateway.telegram.bot_api.profile_sync import BotProfile
from gateway.telegram.bot_api.updates import get_updates
from gateway.telegram.inbound.parser import UpdateParser
from gateway.telegram.messenger import TelegramMessenger
from gateway.telegram.polling import UpdatePoller
from gateway.telegram.update_receiver import UpdateReceiver
from gateway.telegram.webhook import WebhookTarget

logger = logging.getLogger(__name__)

_LOGGED_BY_WEBHOOK = {Outcome.FORBIDDEN, Outcome.MALFORMED}
"""Outcomes of requests that are not updates. Anybody can send any number of them, so
the webhook logs them at a limited rate."""


class Bot(Struct, frozen=True, eq=False, kw_only=True):
    """The components of a bot that runs in this process.

    Attributes:
        config: the configuration that the components were built from.
        api: calls the Bot API.
        parser: parses the updates.
        actor: processes the updates and deliveries in the bot's mailboxes.
        notifier: counts updates that a full mailbox refused, and notifies their users.
        stream_runner: runs the streamed replies.
        profile: reads the bot's username from Telegram, and publishes its menu there.
        webhook_target: receives what arrives at the bot's webhook; None if its updates
            are polled.
        poller: fetches the updates; None if they arrive at the webhook.
        allowed_updates: the types of updates that the poller fetches.
    """

    config: BotConfig
    api: BotApiClient
    parser: UpdateParser
    actor: UserActor
    notifier: FullMailboxNotifier
    stream_runner: StreamRunner
    profile: BotProfile
    webhook_target: WebhookTarget | None
    poller: UpdatePoller | None
    allowed_updates: Sequence[str]


class BotFactory:
    """Builds bots, again and again: when BOTS_FILE or the routes change.

    Args:
        settings: the gateway's settings.
        table: all routes.
        router: calls the services of all routes.
        connections: the connections to the Bot API.
        store: the mailbox store.
        metrics: the metrics of the process.
        instrumentation: wraps components, for example to trace their calls.
        enqueue: stores an update and starts its actor; with `acquire=False` it starts
            none.
        find_name: returns the name of the bot with a user id, or None if it does not
            run here.

    Attributes:
        previous_secrets: the webhook secrets that were replaced and are still accepted.
    """

    def __init__(  # noqa: PLR0913 - most by name
        self,
        settings: Settings,
        table: RouteTable,
        router: GrpcServiceRouter,
        *,
        connections: BotApiConnections,
        store: OpenedMailboxes,
        metrics: Metrics,
        instrumentation: Instrumentation,
        enqueue: Callable[..., Awaitable[None]],
        find_name: Callable[[int], str | None],
    ) -> None:
        self.previous_secrets = PreviousSecrets()
        self._typing_timer = make_typing_timer()
        self._find_name = find_name
        self._settings = settings
        self._table = table
        self._tables: dict[object, RouteTable] = {(None, None): table}
        """The tables of bots that offer a part of the routes, by that part."""
        self._router = router
        self._connections = connections
        self._store = store
        self._metrics = metrics
        self._instrumentation = instrumentation
        self._enqueue = enqueue

    def build(self, config: BotConfig, previous: Bot | None = None) -> Bot:
        """Build a bot, without starting to receive updates for it.

        Args:
            config: the configuration of the bot.
            previous: the same bot as it runs now, or None if it does not run. The new
                bot takes over its Bot API client, username and streamed replies, and,
                if nothing about polling has changed, its poller.
        """
        settings, instrumentation = self._settings, self._instrumentation
        mailboxes, clock = self._store.mailboxes, self._store.clock
        table = self._choose_table(config)
        api = self._get_api(config, previous)
        parser = UpdateParser(config.id, config.name, allow_bots=settings.allow_bots)
        if previous is not None:
            parser.bot_username = previous.parser.bot_username
        services = instrumentation.around_services(
            self._build_router(config, table, api)
        )
        messenger = instrumentation.around_messenger(
            TelegramMessenger(
                api,
                observe_call=self._metrics.observe_call,
                count_dropped_part=instrumentation.around_count_rejected_part(
                    self._metrics.count_rejected_part
                ),
                local_server=settings.uses_local_server,
            )
        )
        observe_update = instrumentation.around_observe(
            partial(_observe_update, self._metrics, config.name), config.id
        )
        reply_sender = ReplySender(
            messenger, services, clock, patience=settings.reply_patience
        )
        typing_indicator = TypingIndicator(messenger, self._typing_timer)
        stream_runner = StreamRunner(
            messenger,
            typing_indicator,
            None if previous is None else previous.stream_runner,
        )
        actor = UserActor(
            mailboxes,
            UpdateProcessor(
                services,
                ServiceCaller(
                    services,
                    typing_indicator,
                    stream_runner,
                    clock,
                    session_seconds=settings.session_ttl,
                    recipients=self._store.recipients,
                ),
                reply_sender,
                RateLimiter(config.rate_limit_requests, config.rate_limit_window),
                clock=clock,
                parse_update=parser.parse,
            ),
            create_delivery_processor(
                messenger,
                services,
                self._store,
                self._metrics,
                bot=config.name,
                handles=MessageHandles(settings.store_secrets),
                patience=settings.reply_patience,
            ),
            clock=clock,
            observe_update=observe_update,
        )
        accept: Callable[[Envelope], Awaitable[None]] = self._enqueue
        if config.is_paused:
            accept = partial(self._enqueue, acquire=False)
        receiver = UpdateReceiver(
            parse=parser.parse,
            accept=instrumentation.around_accept(accept),
            add_dead_letter=mailboxes.add_dead_letter,
            record_update=observe_update,
            clock=clock,
        )
        is_polled = config.updates == "poll"
        allowed_updates = list_offered_updates(config, self._table) if is_polled else ()
        return Bot(
            config=config,
            api=api,
            parser=parser,
            actor=actor,
            notifier=FullMailboxNotifier(
                reply_sender, clock=clock, observe_update=observe_update
            ),
            stream_runner=stream_runner,
            profile=BotProfile(
                api,
                table.menu_commands,
                partial(setattr, parser, "bot_username"),
                name=config.name,
                previous=previous.profile
                if previous is not None and previous.config.token == config.token
                else None,
            ),
            webhook_target=None
            if is_polled
            else WebhookTarget(
                config.webhook_secrets,
                receiver,
                observe_update,
                self.previous_secrets.find(config),
            ),
            poller=self._get_poller(config, api, receiver, allowed_updates, previous)
            if is_polled
            else None,
            allowed_updates=allowed_updates,
        )

    def _build_router(
        self, config: BotConfig, table: RouteTable, api: BotApiClient
    ) -> ServiceRouter:
        router = self._router.for_bot(table, ButtonSigner(*config.signing_keys))
        if not config.manages_bots_of:
            return router
        editor = BotEditor(self._settings, self._table, report=_log_step)
        return AdoptingRouter(router, BotAdoption(api, editor, self._find_name, config))

    @property
    def table(self) -> RouteTable:
        """The routes of all services, of which each bot may offer a part."""
        return self._table

    @property
    def delivery_calls(self) -> DeliveryCalls:
        """Calls the rpcs that receive reports and find recipients.

        `replace_routes` replaces it, so it must not be kept.
        """
        return self._router.delivery_calls

    def replace_routes(self, table: RouteTable, router: GrpcServiceRouter) -> None:
        """Build bots with these routes from now on; bots that exist keep theirs.

        Args:
            table: all routes.
            router: calls the services of all routes.
        """
        self._table = table
        self._tables = {(None, None): table}
        self._router = router

    def _get_api(self, config: BotConfig, previous: Bot | None) -> BotApiClient:
        if previous is None:
            return BotApiClient(
                config.token,
                self._connections,
                shared_cooldowns=self._store.make_cooldowns(config.id),
                may_get_token=bool(config.name),
                observe_request=self._instrumentation.request_observer(),
            )
        if config.token != previous.config.token:
            previous.api.set_token(config.token)
        return previous.api

    def _choose_table(self, config: BotConfig) -> RouteTable:
        """Return the table of the routes that a bot offers."""
        offered = config.services, config.routes
        table = self._tables.get(offered)
        if table is None:
            table = self._tables[offered] = self._table.restrict(*offered)
        return table

    def _get_poller(
        self,
        config: BotConfig,
        api: BotApiClient,
        receiver: UpdateReceiver,
        allowed_updates: Sequence[str],
        previous: Bot | None,
    ) -> UpdatePoller:
        """Return the poller of a bot, which goes on unless its calls have changed."""
        if (
            previous is not None
            and previous.poller is not None
            and previous.allowed_updates == allowed_updates
            and _get_polling_fields(previous.config) == _get_polling_fields(config)
        ):
            previous.poller.deliver_to(receiver.receive)
            return previous.poller
        mailboxes = self._store.mailboxes
        return UpdatePoller(
            partial(get_updates, api, allowed_updates=allowed_updates),
            receive=receiver.receive,
            find_oldest_unfinished=partial(
                mailboxes.find_oldest_update_id, f"{config.id}/"
            ),
            lease=self._store.make_polling_lease(config.id),
            bot_name=config.name,
        )


def _get_polling_fields(config: BotConfig) -> tuple[object, ...]:
    """Return what a poller depends on beside the types of updates.

    One that was stopped because its bot was paused must not go on.
    """
    return config.name, config.token, config.is_paused


def _log_step(step: str) -> None:
    logger.info("bots_file_step", extra={"step": step})


def _observe_update(metrics: Metrics, bot: str, record: ProcessingRecord) -> None:
    record.bot = bot
    metrics.observe_update(record)
    if record.outcome not in _LOGGED_BY_WEBHOOK:
        log_update(record)
