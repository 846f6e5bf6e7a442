"""The data of a parsed scenario: its users, bots and steps."""

from msgspec import Struct

from gateway.sandbox.scenarios.steps import Act


class User(Struct, frozen=True):
    """A user of a scenario.

    Attributes:
        name: the user's name in the file.
        id: Telegram's user id; None for a user who is new to the bot.
        language: the language of the user's app.
    """

    name: str
    id: int | None = None
    language: str = "en"


class Step(Struct, frozen=True, kw_only=True):
    """An action of a user, or what a user or the test expects.

    Attributes:
        line: the line of the step in the file, from 1.
        words: the text of the step in the file.
        user: the name of the user in the step, or an empty string if there is none.
        bot: the username of the bot in the step, or an empty string for the only one.
        act: performs the step, with the environment and the user's name.
        within: the timeout of the step in seconds.
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
        name: the title of the scenario.
        users: the users.
        bots: the usernames of the bots; empty for the only one of the sandbox.
        pace: minimum seconds between two actions of one user with one bot.
        steps: the steps in order.
    """

    path: str
    name: str
    users: tuple[User, ...]
    pace: float
    steps: tuple[Step, ...]
    bots: tuple[str, ...] = ()
