"""Connects a `Tracer` to the parts of the sandbox's gateway."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from grpc import aio

from gateway.domain.instrumentation import Instrumentation
from gateway.domain.ports import Messenger, ServiceRouter
from gateway.domain.processing_record import ProcessingRecord
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
    """Makes a gateway record traces of its updates, and reject foreign hosts.

    Each method returns what the gateway uses instead of its argument.

    Args:
        tracer: records the steps.
        loopback_only: True if the gateway rejects requests whose Host is not loopback.
    """

    def __init__(self, tracer: Tracer, *, loopback_only: bool = True) -> None:
        self._tracer = tracer
        self._loopback_only = loopback_only

    def around_accept(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Return `accept` that also records when an update arrived and was stored."""
        return self._tracer.accepting(accept)

    def around_observe(
        self, observe: Callable[[ProcessingRecord], None], bot_id: int
    ) -> Callable[[ProcessingRecord], None]:
        """Return `observe` that also records the outcome of an update of a bot."""
        return self._tracer.observing(observe, bot_id)

    def around_count_rejected_part(
        self, count: Callable[[str], None]
    ) -> Callable[[str], None]:
        """Return `count` that also records the part that is dropped from a reply."""
        return self._tracer.counting(count)

    def around_services(self, services: ServiceRouter) -> ServiceRouter:
        """Return a router that also records when processing began, and the session."""
        return TracedServices(services, self._tracer)

    def around_messenger(self, messenger: Messenger) -> Messenger:
        """Return a messenger that also records the replies."""
        return TracedMessenger(messenger, self._tracer)

    def around_pages(
        self, pages: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], Any]:
        """Return handlers that reject requests to other hosts, if that is wanted."""
        return reject_other_hosts(pages) if self._loopback_only else pages

    def interceptors(self) -> Sequence[aio.ClientInterceptor]:
        """Return the gRPC interceptors that record calls of services."""
        return UnaryTracingInterceptor(self._tracer), StreamTracingInterceptor(
            self._tracer
        )

    def request_observer(self) -> Callable[[str, int, float, str], None]:
        """Return the function that records the requests to the Bot API."""
        return self._tracer.note_post

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return the background task that posts the traces, by its name."""
        return {"post turns": self._tracer.run}
