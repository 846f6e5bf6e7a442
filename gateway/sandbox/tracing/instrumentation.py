"""The instrumentation of the sandbox's gateway."""

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
    """Traces the processing of updates, and rejects foreign hosts.

    Args:
        tracer: records the steps.
        loopback_only: whether the gateway rejects requests to non-loopback hosts.
    """

    def __init__(self, tracer: Tracer, *, loopback_only: bool = True) -> None:
        self._tracer = tracer
        self._loopback_only = loopback_only

    def around_accept(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Trace when an update arrived and when it was stored."""
        return self._tracer.accepting(accept)

    def around_observe(
        self, observe: Callable[[ProcessingRecord], None], bot_id: int
    ) -> Callable[[ProcessingRecord], None]:
        """Trace the outcome of an update of a bot."""
        return self._tracer.observing(observe, bot_id)

    def around_count_rejected_part(
        self, count: Callable[[str], None]
    ) -> Callable[[str], None]:
        """Trace the parts that are dropped from a reply."""
        return self._tracer.counting(count)

    def around_services(self, services: ServiceRouter) -> ServiceRouter:
        """Trace the start of the processing, and the session."""
        return TracedServices(services, self._tracer)

    def around_messenger(self, messenger: Messenger) -> Messenger:
        """Trace the replies."""
        return TracedMessenger(messenger, self._tracer)

    def around_pages(
        self, pages: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], Any]:
        """Reject requests to non-loopback hosts."""
        return reject_other_hosts(pages) if self._loopback_only else pages

    def interceptors(self) -> Sequence[aio.ClientInterceptor]:
        """Trace the service calls."""
        return UnaryTracingInterceptor(self._tracer), StreamTracingInterceptor(
            self._tracer
        )

    def request_observer(self) -> Callable[[str, int, float, str], None]:
        """Trace the requests to the Bot API."""
        return self._tracer.note_post

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return the task that posts the traces."""
        return {"post turns": self._tracer.run}
