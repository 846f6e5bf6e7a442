"""Signatures on the data of buttons."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.services.button_signatures import ButtonSigner

SIGNER = ButtonSigner("7400000001:AAtoken")
TEXTS = st.text(st.characters(), max_size=64)


@given(TEXTS, TEXTS)
def test_signed_data_is_read_back(data: str, place: str) -> None:
    """By every worker: nothing but the token makes the key."""
    signed = SIGNER.sign(data, place)
    assert ButtonSigner("7400000001:AAtoken").verify(signed, place) == data


@given(st.text(max_size=52))
def test_a_signature_takes_twelve_bytes(data: str) -> None:
    """So much is left of Telegram's 64."""
    signed = SIGNER.sign(data, "7:")
    assert len(signed.encode()) == len(data.encode()) + 12
    assert signed[len(data) :].isascii()


@given(TEXTS)
def test_what_was_not_signed_has_no_signature(data: str) -> None:
    """Whatever a client sends, also halves of characters."""
    assert SIGNER.verify(data, "7:") is None
    assert SIGNER.verify(f"{data}~AAAAAAAAAAA", "7:") is None
    assert SIGNER.verify(f"{data}\ud800~\ud800AAAAAAAAAA", "7:") is None


def test_a_signature_is_good_for_its_data_its_place_and_its_bot() -> None:
    """Nobody can move it to other data or to another chat."""
    signed = SIGNER.sign("PAY:5", "7:")
    assert SIGNER.verify(signed.replace("5", "6", 1), "7:") is None
    assert SIGNER.verify(signed, "8:") is None
    assert SIGNER.verify(signed, "7:b") is None
    assert SIGNER.verify(signed, "") is None
    assert ButtonSigner("7400000001:AAother").verify(signed, "7:") is None
