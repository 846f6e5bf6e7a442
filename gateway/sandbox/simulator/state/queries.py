"""Queries other than callback queries, and the bot's answers to them."""

from collections import OrderedDict
from collections.abc import Callable

from gateway.sandbox.simulator.validation import query_rules, rules
from gateway.sandbox.simulator.validation.rules import Parameters, bad_request, number

MAX_QUERIES = 10_000
"""Maximum number of queries, and of answers; the oldest are dropped first."""

_Check = Callable[[Parameters], None]


class OpenQueries:
    """The queries and join requests that a bot has to answer, and its answers.

    Args:
        strict: True to reject answers to unknown queries; False to accept them.

    Attributes:
        answers: the method and parameters of the bot's answers, oldest first.
        methods: the Bot API methods that answer queries, by name.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self.answers: list[tuple[str, Parameters]] = []
        self._open: OrderedDict[object, bool] = OrderedDict()
        answering: dict[str, tuple[str, _Check]] = {
            "answerInlineQuery": ("inline_query_id", query_rules.results),
            "answerPreCheckoutQuery": (
                "pre_checkout_query_id",
                query_rules.pre_checkout,
            ),
            "answerShippingQuery": ("shipping_query_id", query_rules.shipping),
            "answerChatJoinRequestQuery": (
                "chat_join_request_query_id",
                query_rules.join,
            ),
            "answerGuestQuery": ("guest_query_id", query_rules.guest_result),
        }
        self.methods: dict[str, Callable[[Parameters], object]] = {
            name: self._answering(name, field, check)
            for name, (field, check) in answering.items()
        }
        for name in ("approveChatJoinRequest", "declineChatJoinRequest"):
            self.methods[name] = self._deciding(name)

    def add(self, query_id: str) -> None:
        """Remember that a query waits for an answer."""
        self._note(query_id)

    def add_join_request(self, chat_id: int, user_id: int) -> None:
        """Remember that a user's request to join a chat waits for a decision."""
        self._note((chat_id, user_id))

    def read_titles(self, query_id: str) -> list[str]:
        """Return the titles of the results in the bot's answers to an inline query.

        The list is empty as long as there is no answer.
        """
        titles = []
        for method, parameters in self.answers:
            if method == "answerInlineQuery" and query_id == str(
                parameters.get("inline_query_id")
            ):
                results = rules.json_value(parameters, "results", "results")
                if isinstance(results, list):
                    titles += [str(result.get("title", "")) for result in results]
        return titles

    def _note(self, key: object) -> None:
        self._open[key] = True
        if len(self._open) > MAX_QUERIES:
            self._open.popitem(last=False)

    def _answering(
        self, method: str, field: str, check: _Check
    ) -> Callable[[Parameters], object]:
        def answer(parameters: Parameters) -> object:
            # The server checks the parameters before it looks up the query.
            check(parameters)
            query_id = str(parameters.get(field) or "")
            if not query_id or not self._open.get(query_id, not self._strict):
                raise rules.too_old()
            self._open[query_id] = False
            self._keep(method, parameters)
            if method == "answerGuestQuery":
                return {"inline_message_id": f"guest-{query_id}"}
            return True

        return answer

    def _deciding(self, method: str) -> Callable[[Parameters], object]:
        def decide(parameters: Parameters) -> bool:
            key = (rules.chat_id(parameters), number(parameters.get("user_id")))
            if not self._open.get(key, not self._strict):
                raise bad_request("HIDE_REQUESTER_MISSING")
            self._open[key] = False
            self._keep(method, parameters)
            return True

        return decide

    def _keep(self, method: str, parameters: Parameters) -> None:
        self.answers.append((method, parameters))
        del self.answers[:-MAX_QUERIES]
