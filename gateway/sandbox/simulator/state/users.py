"""The users who write to the bots, and Telegram's objects for them and their chats."""

from collections.abc import Iterable

from msgspec import Struct

from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.validation.rules import Parameters

MAX_USERS = 100
"""Default maximum number of users; a page cannot show more of them."""
MAX_USER_ID = 2**52 - 1
"""Telegram promises that ids have no more than 52 bits."""


class User(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user, with the fields of Telegram's User object."""

    id: int
    first_name: str
    last_name: str = ""
    username: str = ""
    language_code: str


class Accounts:
    """The users of the simulated Telegram, whom all bots share. Three exist at first.

    Args:
        limit: the maximum number of users.

    Attributes:
        limit: as the argument.
        users: the users by their ids.
        blocked_sets: for each bot, the ids of users who blocked it.
    """

    def __init__(self, limit: int = MAX_USERS) -> None:
        self.limit = limit
        self.users: dict[int, User] = {}
        self.blocked_sets: list[set[int]] = []
        for user in (
            User(
                id=1001,
                first_name="Ada",
                last_name="Lovelace",
                username="ada",
                language_code="en",
            ),
            User(
                id=1002,
                first_name="Grace",
                last_name="Hopper",
                username="grace",
                language_code="en",
            ),
            User(id=1003, first_name="Linus", language_code="fi"),
        ):
            self.users[user.id] = user


class Users:
    """The users as one bot sees them, and which of them blocked it.

    Args:
        events: the events of the bot, where changes are published.
        accounts: the users, whom all bots share.

    Attributes:
        blocked: the ids of users who blocked the bot, which need not be known users.
    """

    def __init__(self, events: EventStream, accounts: Accounts) -> None:
        self.blocked: set[int] = set()
        accounts.blocked_sets.append(self.blocked)
        self._events = events
        self._accounts = accounts
        self._users = accounts.users

    def find(self, user_id: int) -> User | None:
        """Return the user with an id; None if the id is unknown."""
        return self._users.get(user_id)

    def list_all(self) -> list[User]:
        """Return all users, also those who blocked the bot."""
        return list(self._users.values())

    def restore(self, users: Iterable[User], blocked: Iterable[int]) -> None:
        """Add the users of an earlier run, up to the limit, and who blocked the bot."""
        for user in users:
            if user.id in self._users or len(self._users) < self._accounts.limit:
                self._users[user.id] = user
        self.blocked.update(blocked)

    def views(self) -> list[Parameters]:
        """Return the fields of all users, and whether they blocked the bot."""
        return [self.view(user) for user in self._users.values()]

    def view(self, user: User) -> Parameters:
        """Return a user's fields for a page, and whether the user blocked the bot."""
        return _fields(user) | {"blocked": user.id in self.blocked}

    def add(
        self, first_name: str, language_code: str, user_id: int | None = None
    ) -> User:
        """Add a user, who has blocked no bot, and publish that.

        Args:
            first_name: the user's first name.
            language_code: the language of the user's app.
            user_id: the id; an existing user with this id is replaced. None for the
                next free one.

        Raises:
            OverflowError: the maximum number of users is reached.
        """
        if user_id is None:
            user_id = max(self._users) + 1
        if user_id not in self._users and len(self._users) >= self._accounts.limit:
            raise OverflowError
        user = User(id=user_id, first_name=first_name, language_code=language_code)
        self._users[user.id] = user
        for blocked in self._accounts.blocked_sets:
            blocked.discard(user.id)
        self._events.publish("user", user=self.view(user))
        return user

    def block(self, user: User, *, blocked: bool) -> None:
        """Record whether a user blocks the bot, and publish that; create no update.

        Args:
            user: the user.
            blocked: True to block the bot, False to unblock it.
        """
        if blocked:
            self.blocked.add(user.id)
        else:
            self.blocked.discard(user.id)
        self._events.publish("user", user=self.view(user))

    def chat(self, chat_id: int) -> Parameters:
        """Return Telegram's Chat object for an id: of a group if it is negative."""
        if chat_id < 0:
            kind = "supergroup" if chat_id <= -1_000_000_000_000 else "group"
            return {"id": chat_id, "title": f"Group {-chat_id}", "type": kind}
        chat: Parameters = {"id": chat_id, "type": "private"}
        if user := self._users.get(chat_id):
            chat |= {
                name: _fields(user)[name] for name in _fields(user) if name in _NAMES
            }
        return chat


_NAMES = frozenset({"first_name", "last_name", "username"})


def _fields(user: User) -> Parameters:
    return {
        name: getattr(user, name)
        for name in user.__struct_fields__
        if getattr(user, name) != ""
    }


def sender(user: User) -> Parameters:
    """Return Telegram's User object of a user who sends something."""
    return {"id": user.id, "is_bot": False, **_fields(user)}
