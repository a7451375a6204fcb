"""The comparison that the demo and the tests rely on finds every kind of difference."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from demo.comparison import compare, expected_event
from demo.purchases import Purchase

EVENT = expected_event(Purchase("00001", date(1997, 1, 1), 2, Decimal("12.00")))


def changed(**properties: Any) -> dict[str, Any]:
    return EVENT | {"properties": EVENT["properties"] | properties}


def test_order_does_not_matter_but_number_does() -> None:
    other = changed(quantity=3)
    assert compare([EVENT, other, EVENT], [EVENT, EVENT, other]).is_equal
    assert compare([EVENT, other], [EVENT]).missing.total() == 1
    assert compare([EVENT], [EVENT, EVENT]).surplus.total() == 1


def test_trailing_zeros_do_not_matter() -> None:
    assert compare([EVENT], [changed(amount=Decimal("12.0"))]).is_equal


@pytest.mark.parametrize(
    "imported",
    [
        changed(quantity=Decimal("2.0")),
        changed(quantity="2"),
        changed(amount=12),
        changed(amount=Decimal("12.01")),
        changed(note=None),
        EVENT | {"user": {"uid": "1"}},
        EVENT | {"timestamp": "1997-01-01"},
        EVENT | {"schema": {}},
        {key: value for key, value in EVENT.items() if key != "schema"},
    ],
)
def test_every_difference_is_found(imported: dict[str, Any]) -> None:
    comparison = compare([EVENT], [imported])
    assert (comparison.missing.total(), comparison.surplus.total()) == (1, 1)
