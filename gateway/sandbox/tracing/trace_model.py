"""The data of a trace: what happened to one update in the gateway, step by step."""

from msgspec import Raw, Struct

NO_UPDATE = Raw(b"null")


class Step(Struct, frozen=True, kw_only=True):
    """One step in the processing of an update.

    Attributes:
        name: such as received, stored, waited, session, call, send, committed.
        start: when the step began, in seconds since the epoch.
        end: when it ended, in seconds since the epoch.
        detail: a short description, such as method and status.
        failed: whether a service or Telegram returned an error, or did not respond.
    """

    name: str
    start: float
    end: float
    detail: str = ""
    failed: bool = False


class UpdateTrace(Struct, kw_only=True):
    """What happened to one update in the gateway.

    Attributes:
        update_id: the id of the update.
        bot_id: the id of the bot.
        kind: the update type.
        route: the name of the route, or an empty string if there is none.
        outcome: the outcome, or an empty string while the update is processed.
        fault: the error, or an empty string if there was none.
        request_id: the request id that services got for the update.
        telegram_user_id: the user of the update, or 0 if there is none.
        steps: the steps in the order in which they were recorded.
        request: the request to the service in text format, or an empty string if it is
            unknown or omitted.
        reply: the reply of the service in text format, or an empty string likewise.
        losses: one sentence for each part of the reply that was dropped or that
            Telegram rejected.
        update: the JSON of the update of a real bot; null in the sandbox, which has
            created the update.
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
    bot_id: int = 0
    update: Raw = NO_UPDATE
