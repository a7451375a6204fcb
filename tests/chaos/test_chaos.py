"""What `make chaos` relies on: plans that can be repeated, and a count that misses nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from chaos.plan import BY_HAND, KINDS, MODES, SEED_STEP, plan
from chaos.records import create_records, differences, last_moment
from demo.postgresql import PostgreSQL
from demo.warehouse import Warehouse

if TYPE_CHECKING:
    from pathlib import Path


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


def test_people_meddle_with_tasks_that_run_that_wait_and_that_have_ended() -> None:
    breakages = [breakage for seed in range(500) for breakage in plan(seed).breakages]
    for kind in BY_HAND:
        moments = [breakage.progress for breakage in breakages if breakage.kind == kind]
        assert min(moments) < 0.1
        assert any(1 < moment < 1.1 for moment in moments)
        # The emulator takes three seconds over a batch, a tenth of what 1 stands for.
        assert max(moments) > 1.1


def test_a_second_run_begins_while_the_first_sends_or_waits_or_has_ended() -> None:
    moments = [plan(seed).second_run for seed in range(500)]
    assert min(moments) < 0.2
    assert max(moments) > 0.6


def test_some_records_come_late_but_within_the_lag(postgresql_directory: Path) -> None:
    warehouse = Warehouse(postgresql_directory)
    try:
        warehouse.start()
        create_records(warehouse, 1000)
        with warehouse.cursor() as cursor:
            cursor.execute(
                "SELECT load, count(*), min(happened_at), max(happened_at) FROM records GROUP BY 1"
            )
            (_, first, _, last_of_first), (_, second, first_of_second, last) = sorted(cursor.fetchall())
        assert (first, second) == (495, 505)
        assert timedelta() < last_of_first - first_of_second < timedelta(days=1)
        assert last == last_moment(1000)
    finally:
        warehouse.stop()


def test_a_database_that_was_killed_has_all_that_was_committed(postgresql_directory: Path) -> None:
    database = PostgreSQL(postgresql_directory, "metadata", ("airflow",))
    try:
        database.start()
        with database.cursor("airflow") as cursor:
            cursor.execute("CREATE TABLE numbers AS SELECT 1 AS number")
        with database.outage(), pytest.raises(psycopg2.OperationalError), database.cursor("airflow"):
            pass
        with database.cursor("airflow") as cursor:
            cursor.execute("SELECT number FROM numbers")
            assert cursor.fetchall() == [(1,)]
    finally:
        database.stop()


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
