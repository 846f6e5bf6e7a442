"""The id of a delivery behind the data of a button."""

import pytest

from gateway.services.delivery_marks import mark_callback_data, split_callback_data

DELIVERY = "abcdefghijklmno-"


@pytest.mark.parametrize("data", ["A:1", "", "PAY:12~signature", "A:\x1f"])
def test_a_mark_is_split_off_again(data: str) -> None:
    marked = mark_callback_data(data, DELIVERY)
    assert len(marked.encode()) == len(data.encode()) + 17
    assert split_callback_data(marked) == (data, DELIVERY)


@pytest.mark.parametrize("data", ["", "A:1", "x" * 64, "A:\x1fshort", "\x1f"])
def test_data_without_a_mark_stays_as_it_is(data: str) -> None:
    assert split_callback_data(data) == (data, None)
