"""What the gateway tells of an update that it worked on."""

from msgspec import Struct


class Step(Struct, frozen=True, kw_only=True):
    """One part of a turn.

    Attributes:
        name: such as received, stored, waited, session, call, send, committed.
        start: seconds since the epoch.
        end: the same.
        detail: method, status, anything short.
        failed: True: a service or Telegram answered with an error, or not at all.
    """

    name: str
    start: float
    end: float
    detail: str = ""
    failed: bool = False


class UpdateTrace(Struct, kw_only=True):
    """A turn, as the page shows it.

    Attributes:
        update_id: the update.
        kind: the update's kind.
        route: what it was bound to. Empty: nothing.
        outcome: what became of it. Empty: it is still worked on.
        fault: what went wrong. Empty: nothing.
        request_id: under which the service was called.
        telegram_user_id: whose update it is. 0: nobody's.
        steps: in the order in which they began.
        request: the request to the service, as text format. Empty: it is not known, or
            not told here.
        reply: the service's answer, as text format. The same.
        losses: why the user sees something else than the reply of the service, a
            sentence for each part that was left out or refused.
    """

    update_id: int
    kind: str = ""
    route: str = ""
    outcome: str = ""
    fault: str = ""
    request_id: str = ""
    telegram_user_id: int = 0
    steps: tuple[Step, ...] = ()
    request: str = ""
    reply: str = ""
    losses: tuple[str, ...] = ()
