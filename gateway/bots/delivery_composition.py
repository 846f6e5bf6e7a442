"""Builds the component that processes the deliveries of a bot."""

from gateway.actors.deliveries.delivery_processor import DeliveryProcessor
from gateway.actors.deliveries.delivery_renderer import DeliveryRenderer
from gateway.actors.deliveries.delivery_sender import DeliverySender
from gateway.domain.delivery import Delivery, DeliveryResult
from gateway.domain.message_handles import MessageHandles
from gateway.domain.ports import Messenger, ServiceRouter
from gateway.mailboxes.factory import OpenedMailboxes
from gateway.observability.logging import log_delivery
from gateway.observability.metrics import Metrics


def create_delivery_processor(
    messenger: Messenger,
    services: ServiceRouter,
    store: OpenedMailboxes,
    metrics: Metrics,
    *,
    bot: str,
    handles: MessageHandles,
    patience: float,
) -> DeliveryProcessor:
    """Create the component that processes the deliveries in the mailboxes of a bot.

    Args:
        messenger: renders the messages and makes the calls.
        services: encodes and signs the data of buttons.
        store: the mailbox store with the deliveries and broadcasts.
        metrics: count the deliveries that ended.
        bot: the name of the bot for the log; empty if it has none.
        handles: reads the signed handles of sent messages.
        patience: how many seconds, from its first failure on, to retry a call that
            certainly did not take effect.
    """

    def observe(delivery: Delivery, result: DeliveryResult, seconds: float) -> None:
        metrics.observe_delivery(delivery, result, seconds)
        log_delivery(delivery, result, seconds, bot)

    return DeliveryProcessor(
        store.deliveries,
        DeliveryRenderer(messenger, services, handles),
        DeliverySender(messenger, store.deliveries, store.clock, patience=patience),
        broadcasts=store.broadcasts,
        clock=store.clock,
        observe_delivery=observe,
    )
