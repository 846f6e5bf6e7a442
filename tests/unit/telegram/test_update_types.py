"""The list of kinds, and what a webhook has to ask for."""

from gateway.sandbox.simulator.validation import setup_rules
from gateway.telegram.inbound.payloads import PAYLOAD_DECODERS
from gateway.telegram.inbound.update_types import (
    OPT_IN_TYPES,
    UPDATE_TYPES,
    list_allowed_updates,
)
from tests.support.services.every_kind import TYPES


def test_the_default_is_kept_as_long_as_it_is_enough() -> None:
    """A list of names would leave out the kinds that Telegram invents later."""
    assert list_allowed_updates([]) == []
    assert list_allowed_updates(["poll_answer", "hologram_call"]) == []


def test_a_kind_that_is_not_sent_by_default_is_asked_for_beside_all_others() -> None:
    """No more of those than are routed, and none of the others is lost."""
    asked = list_allowed_updates(["chat_member", "hologram_call"])
    assert set(asked) == (UPDATE_TYPES.keys() - OPT_IN_TYPES) | {
        "chat_member",
        "hologram_call",
    }
    known = setup_rules.allowed_updates({"allowed_updates": asked})
    assert known is not None
    assert "chat_member" in known
    assert "message_reaction" not in known


def test_what_is_read_is_what_routes_may_ask_for() -> None:
    """The two rooms agree on which kinds have a type."""
    typed = {kind for kind, type_name in TYPES.items() if type_name}
    typed -= {"successful_payment", "refunded_payment", "giveaway"}  # are messages
    assert PAYLOAD_DECODERS.keys() == typed - {"game_short_name"} | {"callback_query"}


def test_contents_of_messages_are_not_asked_for() -> None:
    """They are no kinds of updates: they come with messages."""
    asked = list_allowed_updates(["chat_member", "web_app_data", "giveaway"])
    assert set(asked) == (UPDATE_TYPES.keys() - OPT_IN_TYPES) | {"chat_member"}
