"""What belongs to the trace of an update, and what does not."""

import time

from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.sandbox.tracing.tracer import Tracer


async def test_what_follows_an_update_is_no_part_of_its_trace() -> None:
    """The same actor may send a delivery next."""
    tracer = Tracer("http://localhost:1", "key", "http://localhost:2")
    observe = tracer.observing(lambda _: None, 1)
    tracer.begin(7, 1)
    assert tracer.current == 7
    observe(ProcessingRecord(update_id=7, outcome=Outcome.DONE))
    assert tracer.current == 0
    tracer.note("send", time.time(), time.time())  # of a delivery: recorded nowhere
    tracer.begin(8, 1)
    assert tracer.current == 8


async def test_bots_share_no_trace() -> None:
    """Each bot counts its updates by itself."""
    tracer = Tracer("http://localhost:1", "key", "http://localhost:2")
    tracer.begin(7, 1)
    tracer.observing(lambda _: None, 1)(ProcessingRecord(update_id=7))
    tracer.begin(7, 2)
    assert tracer.current == 7  # the update of the other bot has not ended
