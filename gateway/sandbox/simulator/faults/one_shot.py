"""Faults that affect a limited number of calls; see `Simulator.fail`."""

from msgspec import Struct

from gateway.sandbox.simulator.validation.rules import ApiError, Parameters, number

_WORDS = {
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: "Conflict: terminated by other setWebhook",
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Fault(Struct, kw_only=True):
    """How matching calls fail or respond; see `Simulator.fail` for the attributes."""

    method: str
    chat_id: int | None
    times: int
    status: int
    description: str | None
    retry_after: int | None
    migrate_to_chat_id: int | None
    delay: float
    drop: bool
    body: str | None

    def matches(self, method: str, parameters: Parameters) -> bool:
        """Return whether the fault applies to a call, by its method and chat."""
        if self.method not in {"*", method.lower()}:
            return False
        return self.chat_id in {None, number(parameters.get("chat_id"))}

    @property
    def is_error(self) -> bool:
        """True if the call has no effect; False if only its response differs."""
        return self.status != 200 or self.migrate_to_chat_id is not None

    def to_error(self) -> ApiError:
        """Return the error that the call responds with, if `is_error`."""
        if self.migrate_to_chat_id is not None:
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            moved = {"migrate_to_chat_id": self.migrate_to_chat_id}
            return ApiError(self.description or words, 400, moved)
        if self.status == 429:
            seconds = 1 if self.retry_after is None else self.retry_after
            words = f"Too Many Requests: retry after {seconds}"
            return ApiError(self.description or words, 429, {"retry_after": seconds})
        words = self.description or _WORDS.get(self.status, "Bad Request")
        return ApiError(words, self.status)


class OneShotFaults:
    """A queue of faults, each of which is used up by a number of calls."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault behind those that are queued already."""
        self._queue.append(fault)

    def clear(self) -> None:
        """Remove all queued faults."""
        self._queue.clear()

    def take_matching(self, method: str, parameters: Parameters) -> Fault | None:
        """Return the first fault that applies to a call, and use it up once.

        Returns None if no fault applies.
        """
        for fault in self._queue:
            if fault.matches(method, parameters):
                fault.times -= 1
                if fault.times <= 0:
                    self._queue.remove(fault)
                return fault
        return None
