"""The data of a scenario: its users and steps."""

from msgspec import Struct

from gateway.sandbox.scenarios.steps import Act


class User(Struct, frozen=True):
    """A user of a scenario.

    Attributes:
        name: the name in the file.
        id: Telegram's user id, or None for a user who is new to the bot.
        language: the language of the user's app.
    """

    name: str
    id: int | None = None
    language: str = "en"


class Step(Struct, frozen=True, kw_only=True):
    """An action or an expectation.

    Attributes:
        line: its line in the file, from 1.
        words: its text in the file.
        user: the name of its user, or an empty string if there is none.
        bot: the username of its bot, or an empty string for the only one.
        act: performs the step.
        within: the timeout in seconds.
    """

    line: int
    words: str
    user: str
    act: Act
    within: float
    bot: str = ""


class Scenario(Struct, frozen=True, kw_only=True):
    """A parsed scenario file.

    Attributes:
        path: the path of the file.
        name: the title.
        users: the users.
        bots: the usernames of the bots; empty for the one of the sandbox.
        pace: minimum seconds between two actions of one user.
        steps: the steps in order.
    """

    path: str
    name: str
    users: tuple[User, ...]
    pace: float
    steps: tuple[Step, ...]
    bots: tuple[str, ...] = ()
