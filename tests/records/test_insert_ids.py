"""Insert ids tell records apart by the values that are sent, whatever form their numbers have."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_fullstory.api.encoding import Digits
from airflow_provider_fullstory.records.insert_ids import ids_of_values


@pytest.mark.parametrize(
    "numbers",
    [
        [5, 5.0, Decimal(5), Decimal("5.00"), Digits("5.0"), Digits("5e0")],
        [0, 0.0, -0.0, Decimal("0.000"), Digits("-0")],
        [0.1, Decimal("0.10"), Digits("1e-1")],
        [10**25, 1e25, Decimal("1E+25"), Digits("10000000000000000000000000.0")],
    ],
    ids=["whole", "zero", "fraction", "large"],
)
def test_equal_numbers_have_one_insert_id(numbers: list[Any]) -> None:
    assert len({ids_of_values([[number]])[0] for number in numbers}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ["12345678901234567890123456789012345671", "12345678901234567890123456789012345672"],
        ["12345678901234567890123456789012.5", "12345678901234567890123456789012.6"],
        ["0.12345678901234567890123456789012345", "0.12345678901234567890123456789012346"],
        ["1E-400", "2E-400"],
    ],
    ids=["whole", "mixed", "fraction", "tiny"],
)
@pytest.mark.parametrize("kind", [Decimal, Digits])
def test_numbers_that_differ_in_their_last_digit_have_insert_ids_of_their_own(
    texts: list[str], kind: type[Decimal]
) -> None:
    assert len(set(ids_of_values([[kind(text) for text in texts]]))) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Decimal("5.00"), 5),
        (5.0, 5),
        (Decimal("12.50"), 12.5),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000Z"),
        ("2026-01-01T10:00:00Z", "2026-01-01T11:00:00+01:00"),
    ],
)
def test_values_that_fullstory_may_spell_in_another_way_have_one_insert_id(first: Any, second: Any) -> None:
    assert ids_of_values([[first]]) == ids_of_values([[second]])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (5, "5"),
        (1, True),
        (Decimal("0.1"), Decimal("0.10000000000000001")),
        ("2026-01-01T10:00:00.123456788Z", "2026-01-01T10:00:00.123456789Z"),
        ("2026-01-01 10:00", "2026-01-01T10:00:00Z"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("a", "A"),
    ],
)
def test_values_that_differ_have_different_insert_ids(first: Any, second: Any) -> None:
    assert ids_of_values([[first]]) != ids_of_values([[second]])
