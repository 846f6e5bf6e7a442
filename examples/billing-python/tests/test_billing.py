"""The ledger and the picture, without a server."""

import struct

import pytest

from billing.chart import WIDTH, draw_chart
from billing.ledger import INVOICES, Ledger, UnknownInvoice


def test_a_repeated_request_gets_the_same_answer() -> None:
    """Another request of the user does not, and another user pays as well."""
    ledger = Ledger()
    assert ledger.pay(1, 7, "first")
    assert ledger.pay(1, 7, "first")
    assert not ledger.pay(1, 7, "second")
    assert ledger.pay(2, 7, "third")


def test_an_unknown_invoice_is_not_paid() -> None:
    """The data of a button comes from the app of the user."""
    with pytest.raises(UnknownInvoice):
        Ledger().pay(1, 99, "first")


def test_invoices_are_found_by_number_and_item() -> None:
    """No words find all of them."""
    ledger = Ledger()
    assert [invoice.number for invoice in ledger.search("COF")] == [7]
    assert [invoice.number for invoice in ledger.search("6")] == [6]
    assert len(ledger.search("")) == len(INVOICES)


def test_the_picture_is_a_png() -> None:
    """Its size stands behind the signature."""
    content = draw_chart(INVOICES[0])
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (WIDTH, 140)
