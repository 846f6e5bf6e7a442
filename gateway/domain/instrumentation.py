"""Where a gateway can be watched while it works; `sandbox/tracing.py` does so."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.domain.messenger import Messenger
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.services import ServiceRouter
from gateway.domain.update import Envelope


class Instrumentation:
    """Stands around the parts of a gateway; this one leaves them as they are.

    A method that takes a part gives what is used in its place.
    """

    def around_accept(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Stand around what stores an update."""
        return accept

    def around_observe(
        self, observe: Callable[[ProcessingRecord], None]
    ) -> Callable[[ProcessingRecord], None]:
        """Stand around what is told of the end of each turn."""
        return observe

    def around_count_reply_fault(
        self, count: Callable[[str], None]
    ) -> Callable[[str], None]:
        """Stand around what counts the parts that are left out of replies."""
        return count

    def around_services(self, services: ServiceRouter) -> ServiceRouter:
        """Stand around the services."""
        return services

    def around_messenger(self, messenger: Messenger) -> Messenger:
        """Stand around what sends replies."""
        return messenger

    def around_pages(
        self, pages: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], Any]:
        """Stand around the pages of a listener."""
        return pages

    def interceptors(self) -> Sequence[Any]:
        """Give what gRPC is to put around each call of a service."""
        return ()

    def request_observer(self) -> Callable[[str, int, float, str], None] | None:
        """Return the observer of each request to the Bot API; see `BotApiClient`."""
        return None

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Give what has to run for as long as the gateway does, by its name."""
        return {}


NO_INSTRUMENTATION = Instrumentation()
"""Nobody watches."""
