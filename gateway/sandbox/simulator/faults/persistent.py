"""Faults that affect all matching calls until they are switched off."""

from msgspec import Struct, structs

from gateway.sandbox.simulator.faults.one_shot import Fault
from gateway.sandbox.simulator.validation.rules import Parameters

_ALWAYS = 10**9


class FaultSettings(Struct, kw_only=True, frozen=True):
    """The settings of a fault; each fault uses the ones that apply to it.

    Attributes:
        method: the method that fails; "*" matches all methods.
        chat_id: the chat whose calls fail; None for all chats.
        retry_after: seconds to wait after a 429, for the fault flood.
        status: the HTTP status, 500 to 599, for the fault server_error.
        delay: seconds before the response, for the fault slow.
    """

    method: str = "*"
    chat_id: int | None = None
    retry_after: int = 5
    status: int = 500
    delay: float = 5.0


def _fault(settings: FaultSettings, status: int, **more: object) -> Fault:
    plain = Fault(
        method=settings.method.lower(),
        chat_id=settings.chat_id,
        times=_ALWAYS,
        status=status,
        description=None,
        retry_after=None,
        migrate_to_chat_id=None,
        delay=0.0,
        drop=False,
        body=None,
    )
    return structs.replace(plain, **more)


class PersistentFaults:
    """The faults that can be switched on; `NAMES` lists them.

    flood: calls get a 429; server_error: calls get a 5xx; slow: responses are late;
    lost_answer: calls take effect, but the connection is closed without a response.
    """

    NAMES = ("flood", "server_error", "slow", "lost_answer")

    def __init__(self) -> None:
        self._on: dict[str, FaultSettings] = {}

    def switch(self, name: str, settings: FaultSettings | None) -> None:
        """Switch a fault on or off.

        Args:
            name: one of `NAMES`.
            settings: how the fault affects calls; None to switch it off.

        Raises:
            ValueError: a setting is out of its range.
        """
        if settings is None:
            self._on.pop(name, None)
            return
        if not 500 <= settings.status <= 599:
            raise ValueError("status must be from 500 to 599")
        if not 1 <= settings.retry_after <= 3600:
            raise ValueError("retry_after must be from 1 to 3600 seconds")
        if not 0 < settings.delay <= 300:
            raise ValueError("delay must be over 0 and at most 300 seconds")
        self._on[name] = settings

    def views(self) -> list[Parameters]:
        """Return all faults with their settings, and whether they are on."""
        shown = []
        for name in self.NAMES:
            settings = self._on.get(name, FaultSettings())
            known = {"method", "chat_id", *_SETTINGS[name]}
            values = {
                field: value
                for field, value in structs.asdict(settings).items()
                if field in known
            }
            shown.append({"name": name, "on": name in self._on, **values})
        return shown

    def find(self, method: str, parameters: Parameters) -> Fault | None:
        """Combine all faults that apply to a call into one; None if none applies."""
        met = [
            fault
            for name, settings in self._on.items()
            if (fault := _make(name, settings)).matches(method, parameters)
        ]
        if not met:
            return None
        refusing = next((fault for fault in met if fault.is_error), met[0])
        return structs.replace(
            refusing,
            delay=max(fault.delay for fault in met),
            drop=any(fault.drop for fault in met),
        )


_SETTINGS = {
    "flood": ("retry_after",),
    "server_error": ("status",),
    "slow": ("delay",),
    "lost_answer": (),
}


def _make(name: str, settings: FaultSettings) -> Fault:
    match name:
        case "flood":
            return _fault(settings, 429, retry_after=settings.retry_after)
        case "server_error":
            return _fault(settings, settings.status)
        case "slow":
            return _fault(settings, 200, delay=settings.delay)
        case _:
            return _fault(settings, 200, drop=True)
