"""What `make chaos` relies on: plans that can be repeated, and a count that misses nothing."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.plan import KINDS, MODES, SEED_STEP, plan
from chaos.records import differences


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {"name": "e", "properties": {"record_id": number}} | changes


EXPECTED = {number: record(number) for number in range(1, 4)}


def test_a_seed_always_gives_the_same_round() -> None:
    assert [plan(seed) for seed in range(50)] == [plan(seed) for seed in range(50)]


def test_a_full_campaign_meets_every_kind_in_every_mode() -> None:
    seeds = [734_474 + number * SEED_STEP for number in range(len(KINDS) * len(MODES))]
    pairs = {(breakage.kind, each.dag_id) for each in map(plan, seeds) for breakage in each.breakages}
    assert pairs == {(kind, mode) for kind in KINDS for mode in MODES}


def test_a_short_campaign_meets_every_kind_and_every_mode() -> None:
    plans = [plan(7 + number * SEED_STEP) for number in range(len(KINDS))]
    assert {breakage.kind for each in plans for breakage in each.breakages} == set(KINDS)
    assert {each.dag_id for each in plans} == set(MODES)


def test_equal_records_in_any_order_are_no_difference() -> None:
    assert not differences(EXPECTED, [record(3), record(1), record(2)])


@pytest.mark.parametrize(
    ("imported", "found"),
    [
        ([record(1), record(3)], "1 lost (such as 2)"),
        ([record(1), record(2), record(3), record(2)], "1 doubled (such as 2)"),
        ([record(1), record(2, name="other"), record(3)], "1 altered (such as 2)"),
        ([record(1), record(2), record(3), record(4)], "1 altered (such as 4)"),
        ([], "3 lost (such as 1, 2, 3)"),
    ],
)
def test_every_difference_is_found(imported: list[dict[str, Any]], found: str) -> None:
    result = differences(EXPECTED, imported)
    assert result
    assert str(result) == found
