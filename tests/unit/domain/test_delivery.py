import re

from gateway.domain.delivery import (
    DeliveryKind,
    compute_delivery_id,
    compute_fingerprint,
)


def test_a_delivery_id_is_short_and_depends_on_bot_caller_and_key() -> None:
    ids = {
        compute_delivery_id(7, "shop", "k"),
        compute_delivery_id(8, "shop", "k"),
        compute_delivery_id(7, "news", "k"),
        compute_delivery_id(7, "shop", "l"),
        compute_delivery_id(7, "sho", "pk"),
    }
    assert len(ids) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{16}", it) for it in ids)


def test_a_delivery_id_never_changes() -> None:
    """Another id for the same key would send a repeated request again."""
    assert compute_delivery_id(7, "shop", "order-1") == "Tw4NqISLwuZBovPi"


def test_requests_of_different_kinds_have_different_fingerprints() -> None:
    prints = {compute_fingerprint(kind, b"x") for kind in DeliveryKind}
    assert len(prints) == 3
