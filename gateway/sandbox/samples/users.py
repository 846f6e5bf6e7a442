"""The people whom users can meet in the samples: other users, and made-up ones.

The made-up ones are in `PEOPLE`; they never answer.
"""

from collections import OrderedDict

from botgateway.chat.v1.context_pb2 import RequestContext

MARGARET = (
    "directory:people/department-of-software/2b1c7e0a-55d4-4a86-9f39-d01b7f6f3c11"
)
"""An id that is longer than the data of a button may be."""

PEOPLE = {"u-grace": "Grace", "u-linus": "Linus", MARGARET: "Margaret"}
"""First names of made-up people by internal user id."""

MAX_USERS = 10_000
"""The number of remembered users; those who have not written for longest are dropped
first."""


class Users:
    """Remembers the users who have written to each bot, in memory.

    A real service reads them from its database.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[tuple[int, str], str] = OrderedDict()
        """First names by bot and internal user id, the latest last."""

    def record(self, context: RequestContext, internal_user_id: str) -> None:
        """Remember the user of an update as the one who wrote last."""
        key = context.bot.id, internal_user_id
        self._names[key] = context.first_name or "Somebody"
        self._names.move_to_end(key)
        if len(self._names) > MAX_USERS:
            self._names.popitem(last=False)

    def find_name(self, bot_id: int, internal_user_id: str) -> str | None:
        """Return the first name of a user or a made-up person; None if unknown."""
        name = self._names.get((bot_id, internal_user_id))
        return name or PEOPLE.get(internal_user_id)

    def is_user(self, bot_id: int, internal_user_id: str) -> bool:
        """Return whether an id is that of a real user of the bot, not a made-up one."""
        return (bot_id, internal_user_id) in self._names

    def find_grace(self, context: RequestContext) -> str:
        """Return the internal id of a user called Grace, other than the one who asks.

        Of several, it is the one who wrote last; if there is none, the made-up Grace.
        """
        for (bot_id, internal_user_id), name in reversed(self._names.items()):
            is_other = internal_user_id != context.internal_user_id
            if bot_id == context.bot.id and is_other and name == "Grace":
                return internal_user_id
        return "u-grace"
