"""The queries of pressed buttons, and the bot's answers to them."""

import random
from collections import OrderedDict

from msgspec import Struct

from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.validation import rules
from gateway.sandbox.simulator.validation.rules import Parameters

MAX_QUERIES = 10_000
"""Maximum number of queries, and of answers; the oldest are dropped first."""


class CallbackQuery(Struct):
    """A user's press of a button, which the bot has to answer.

    Attributes:
        user_id: the user who pressed the button.
        chat_id: the chat of the message.
        message_id: the message with the button.
        answered: whether the bot has answered.
    """

    user_id: int
    chat_id: int
    message_id: int
    answered: bool = False


class CallbackQueries:
    """The newest presses of buttons by query id, and the bot's answers.

    Args:
        events: where answers are published.
        strict: True to reject answers to unknown queries; False to accept them.

    Attributes:
        answers: the parameters of the bot's answers, oldest first.
    """

    def __init__(self, events: EventStream, *, strict: bool = False) -> None:
        self._strict = strict
        self.answers: list[Parameters] = []
        self._events = events
        self._callback_queries: OrderedDict[str, CallbackQuery] = OrderedDict()
        # Random, so that ids of an earlier run are unknown to this one.
        self._last_id = random.randrange(10**16, 10**18)  # noqa: S311 - no secret

    def add(self, press: CallbackQuery) -> str:
        """Store a press of a button, and return the id of its query."""
        self._last_id += 1
        self._callback_queries[str(self._last_id)] = press
        if len(self._callback_queries) > MAX_QUERIES:
            self._callback_queries.popitem(last=False)
        return str(self._last_id)

    def answer(self, parameters: Parameters) -> None:
        """Execute answerCallbackQuery, and publish the answer.

        Raises:
            ApiError: the answer is invalid, the query was answered before, or it is
                unknown and `strict` is true.
        """
        rules.callback_answer(parameters)
        query_id = str(parameters["callback_query_id"])
        press = self._callback_queries.get(query_id)
        if press.answered if press else self._strict:
            raise rules.too_old()
        self.answers.append(parameters)
        del self.answers[:-MAX_QUERIES]
        if press:
            press.answered = True
            self._events.publish(
                "answer",
                callback_query_id=query_id,
                user_id=press.user_id,
                chat_id=press.chat_id,
                message_id=press.message_id,
                text=str(parameters.get("text") or ""),
                show_alert=rules.is_true(parameters.get("show_alert")),
            )
