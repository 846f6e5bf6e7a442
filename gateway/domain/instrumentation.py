"""Hooks to observe a running gateway; `sandbox/tracing/` uses them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.domain.ports import Messenger, ServiceRouter
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.update import Envelope


class Instrumentation:
    """Lets other code, such as the sandbox, observe a gateway by wrapping its parts.

    This base class wraps nothing.

    Each `around_` method returns the object to use in place of its argument.
    """

    def around_accept(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Wrap the function that stores an update."""
        return accept

    def around_observe(
        self, observe: Callable[[ProcessingRecord], None], bot_id: int
    ) -> Callable[[ProcessingRecord], None]:
        """Wrap the function that is called when an update of a bot was processed."""
        return observe

    def around_count_rejected_part(
        self, count: Callable[[str], None]
    ) -> Callable[[str], None]:
        """Wrap the function that counts the dropped parts of replies."""
        return count

    def around_services(self, services: ServiceRouter) -> ServiceRouter:
        """Wrap the router to the services."""
        return services

    def around_messenger(self, messenger: Messenger) -> Messenger:
        """Wrap the messenger that sends replies."""
        return messenger

    def around_pages(
        self, pages: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], Any]:
        """Wrap the endpoints of an HTTP server."""
        return pages

    def interceptors(self) -> Sequence[Any]:
        """Return the gRPC interceptors for calls to services."""
        return ()

    def request_observer(self) -> Callable[[str, int, float, str], None] | None:
        """Return the observer of each request to the Bot API; see `BotApiClient`."""
        return None

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return the background tasks to run with the gateway, by name."""
        return {}


NO_INSTRUMENTATION = Instrumentation()
"""Observes nothing."""
