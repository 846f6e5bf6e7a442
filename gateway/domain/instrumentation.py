"""Hooks through which other code can observe a running gateway.

The sandbox uses them for its traces: see `gateway/sandbox/tracing/`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.domain.ports import Messenger, ServiceRouter
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.update import Envelope


class Instrumentation:
    """Lets other code, such as the sandbox, observe a gateway by wrapping its parts.

    Each `around_` method is called while the gateway or one of its bots is set up, and
    returns the object to use in place of its argument. This base class returns the
    arguments themselves. Override the methods of interest.
    """

    def around_accept(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Wrap the function that stores a received update in its mailbox."""
        return accept

    def around_observe(
        self, observe: Callable[[ProcessingRecord], None], bot_id: int
    ) -> Callable[[ProcessingRecord], None]:
        """Wrap the function that gets the record of each processed update.

        Args:
            observe: writes the log line and the metrics of the update.
            bot_id: the user id of the bot whose updates are observed.
        """
        return observe

    def around_count_rejected_part(
        self, count: Callable[[str], None]
    ) -> Callable[[str], None]:
        """Wrap the function that counts dropped parts of replies, by their reason."""
        return count

    def around_services(self, services: ServiceRouter) -> ServiceRouter:
        """Wrap the router, which chooses the service for each update and calls it."""
        return services

    def around_messenger(self, messenger: Messenger) -> Messenger:
        """Wrap the messenger, which renders replies and sends them to Telegram."""
        return messenger

    def around_pages(
        self, pages: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], Any]:
        """Wrap the endpoints of an HTTP server: handlers by method and path."""
        return pages

    def interceptors(self) -> Sequence[Any]:
        """Return the gRPC client interceptors for the channels to services."""
        return ()

    def request_observer(self) -> Callable[[str, int, float, str], None] | None:
        """Return a function that is called after each request to the Bot API, or None.

        `BotApiClient` describes its arguments. None observes no requests.
        """
        return None

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return functions to run as background tasks with the gateway, by name."""
        return {}


NO_INSTRUMENTATION = Instrumentation()
"""Observes nothing."""
