"""Hand-written stand-ins, one per port."""


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.epoch = 1_790_000_000.0
        self.up = 1000.0

    def now(self) -> float:
        """Give seconds since the epoch."""
        return self.epoch

    def uptime(self) -> float:
        """Give seconds since the machine's start."""
        return self.up

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.epoch += seconds
        self.up += seconds
