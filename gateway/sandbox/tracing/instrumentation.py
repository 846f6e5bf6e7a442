"""Stands around the parts of the sandbox's gateway, for a recorder."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from grpc import aio

from gateway.domain.instrumentation import Instrumentation
from gateway.domain.messenger import Messenger
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.services import ServiceRouter
from gateway.domain.update import Envelope
from gateway.sandbox.origin_guard import refuse_other_hosts
from gateway.sandbox.tracing.adapters import (
    RecordedCalls,
    RecordedMessenger,
    RecordedServices,
    RecordedStreams,
)
from gateway.sandbox.tracing.tracer import Recorder


class Tracing(Instrumentation):
    """Lets a recorder note what the parts do, and refuses strangers."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def around_accept(
        self, accept: Callable[[Envelope], Awaitable[None]]
    ) -> Callable[[Envelope], Awaitable[None]]:
        """Note when an update came and when it was stored."""
        return self._recorder.accepting(accept)

    def around_observe(
        self, observe: Callable[[ProcessingRecord], None]
    ) -> Callable[[ProcessingRecord], None]:
        """Note what became of an update."""
        return self._recorder.observing(observe)

    def around_count_rejected_part(
        self, count: Callable[[str], None]
    ) -> Callable[[str], None]:
        """Note what is left out of a reply."""
        return self._recorder.counting(count)

    def around_services(self, services: ServiceRouter) -> ServiceRouter:
        """Note when a turn begins, and its session."""
        return RecordedServices(services, self._recorder)

    def around_messenger(self, messenger: Messenger) -> Messenger:
        """Note the replies."""
        return RecordedMessenger(messenger, self._recorder)

    def around_pages(
        self, pages: Mapping[tuple[str, str], Any]
    ) -> Mapping[tuple[str, str], Any]:
        """Answer only to names of loopback."""
        return refuse_other_hosts(pages)

    def interceptors(self) -> Sequence[aio.ClientInterceptor]:
        """Note the calls of services."""
        return RecordedCalls(self._recorder), RecordedStreams(self._recorder)

    def request_observer(self) -> Callable[[str, int, float, str], None]:
        """Note the requests to the Bot API."""
        return self._recorder.note_post

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Post what was noted."""
        return {"post turns": self._recorder.run}
