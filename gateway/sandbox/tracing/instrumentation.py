"""Stands around the parts of the sandbox's gateway, for a recorder."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from grpc import aio

from gateway.domain.instrumentation import Instrumentation
from gateway.domain.messenger import Messenger
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.services import ServiceRouter
from gateway.domain.update import Envelope
from gateway.sandbox.origin_guard import reject_other_hosts
from gateway.sandbox.tracing.adapters import (
    StreamTracingInterceptor,
    TracedMessenger,
    TracedServices,
    UnaryTracingInterceptor,
)
from gateway.sandbox.tracing.tracer import Tracer


class TracingInstrumentation(Instrumentation):
    """Lets a recorder note what the parts do, and refuses strangers."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def around_accept(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Note when an update came and when it was stored."""
        return self._tracer.accepting(accept)

    def around_observe(
        self, observe: Callable[[ProcessingRecord], None]
    ) -> Callable[[ProcessingRecord], None]:
        """Note what became of an update."""
        return self._tracer.observing(observe)

    def around_count_rejected_part(
        self, count: Callable[[str], None]
    ) -> Callable[[str], None]:
        """Note what is left out of a reply."""
        return self._tracer.counting(count)

    def around_services(self, services: ServiceRouter) -> ServiceRouter:
        """Note when a turn begins, and its session."""
        return TracedServices(services, self._tracer)

    def around_messenger(self, messenger: Messenger) -> Messenger:
        """Note the replies."""
        return TracedMessenger(messenger, self._tracer)

    def around_pages(
        self, pages: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], Any]:
        """Answer only to names of loopback."""
        return reject_other_hosts(pages)

    def interceptors(self) -> Sequence[aio.ClientInterceptor]:
        """Note the calls of services."""
        return UnaryTracingInterceptor(self._tracer), StreamTracingInterceptor(
            self._tracer
        )

    def request_observer(self) -> Callable[[str, int, float, str], None]:
        """Note the requests to the Bot API."""
        return self._tracer.note_post

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Post what was noted."""
        return {"post turns": self._tracer.run}
