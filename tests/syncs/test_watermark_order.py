"""Of two stored values, the higher one is found."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.watermark_order import higher
from airflow_provider_fullstory.syncs.watermark_values import stored

NOON = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (9, 10),
        (Decimal("9.5"), Decimal("10.0")),
        (NOON, NOON + datetime.timedelta(microseconds=1)),
        (NOON.date(), NOON.date() + datetime.timedelta(1)),
        ("9", "a"),
        (b"\x09", b"\x10"),
    ],
)
def test_the_higher_of_two_is_returned_in_whatever_order(low: Any, high: Any) -> None:
    first, second = stored(low, "c"), stored(high, "c")
    assert higher(first, second, "c") == second
    assert higher(second, first, "c") == second
    assert higher(first, None, "c") == higher(None, first, "c") == first
    assert higher(None, None, "c") is None


def test_values_of_different_types_have_no_order() -> None:
    with pytest.raises(FullStoryInputError, match=r"'5' and 'a' of column 'c'.* whole number.* text"):
        higher(stored(5, "c"), stored("a", "c"), "c")
