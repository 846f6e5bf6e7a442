"""A scenario: who takes part, and what happens in which order."""

from msgspec import Struct

from gateway.sandbox.scenarios.steps import Act


class User(Struct, frozen=True):
    """Who takes part.

    Attributes:
        name: what the file calls the user.
        id: Telegram's. None: somebody who is new to the bot.
        language: of the user's app.
    """

    name: str
    id: int | None = None
    language: str = "en"


class Step(Struct, frozen=True, kw_only=True):
    """One thing that is done or waited for.

    Attributes:
        line: where it stands in the file, from 1.
        words: what stands there.
        user: whose step it is. Empty: nobody's.
        act: does it.
        within: seconds that it may wait.
    """

    line: int
    words: str
    user: str
    act: Act
    within: float


class Scenario(Struct, frozen=True, kw_only=True):
    """A file.

    Attributes:
        path: where it is.
        name: what it shows.
        users: who takes part.
        pace: seconds between two doings of one user.
        steps: in order.
    """

    path: str
    name: str
    users: tuple[User, ...]
    pace: float
    steps: tuple[Step, ...]
