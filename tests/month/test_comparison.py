from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from month.comparison import compare
from month.warehouse import REJECTED_NOTE, Version


def version(number: int, committed: int = 1, **values: Any) -> Version:
    given = {"customer_id": "c", "amount": Decimal("1.5"), "note": None} | values
    return Version(number, updated_at=datetime(2026, 3, 1, number, tzinfo=UTC), committed=committed, **given)


VERSIONS = [version(number) for number in range(1, 4)]
EVENTS = [each.event() for each in VERSIONS]


def test_equal_records_in_any_order_are_no_difference() -> None:
    differences = compare(VERSIONS, reversed(EVENTS), seen=1)
    assert not differences
    assert differences.compared == 3


@pytest.mark.parametrize(
    ("imported", "found"),
    [
        ([*EVENTS[:2]], "1 missing (such as record 3 of 2026-03-01 03:00:00+00:00)"),
        ([*EVENTS, EVENTS[0]], "1 doubled (such as record 1 of 2026-03-01 01:00:00+00:00)"),
        ([*EVENTS[:2], EVENTS[2] | {"name": "other"}], "1 altered (such as record 3 of"),
        ([*EVENTS, version(4).event()], "1 surplus (such as record 4 of"),
    ],
)
def test_every_difference_is_found(imported: list[dict[str, Any]], found: str) -> None:
    assert str(compare(VERSIONS, imported, seen=1)).startswith(found)


def test_what_no_green_run_has_seen_may_be_there_once() -> None:
    late = version(4, committed=2)
    assert not compare([*VERSIONS, late], EVENTS, seen=1)
    assert not compare([*VERSIONS, late], [*EVENTS, late.event()], seen=1)
    assert compare([*VERSIONS, late], [*EVENTS, late.event(), late.event()], seen=1).doubled
    assert compare([*VERSIONS, late], EVENTS, seen=2).missing


@pytest.mark.parametrize("values", [{"customer_id": None}, {"note": REJECTED_NOTE}])
def test_what_was_refused_is_there_once_it_is_fixed(values: dict[str, Any]) -> None:
    refused = version(4, **values)
    assert not compare([refused], [], seen=1)
    refused.fixed = "done"
    assert compare([refused], [], seen=1).missing
    assert not compare([refused], [refused.event()], seen=1)
    assert refused.event()["user"]["uid"]
    assert "note" not in refused.event()["properties"]
