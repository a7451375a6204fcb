"""The highest value of a column is that of the records that can be sent."""

# ruff: noqa: DTZ001 - Datetimes without an offset are among what is tested.

from __future__ import annotations

import datetime
import logging
import random
import zoneinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
from airflow_provider_fullstory.records.mapping import map_rows
from airflow_provider_fullstory.syncs.watermark_column import WatermarkColumn
from airflow_provider_fullstory.syncs.watermark_values import restored, stored
from tests.records.sending import batched, make_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.records.sending import Sent

UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2026, 7, 1, 12, tzinfo=UTC)
MAYBE = st.one_of(st.none(), st.integers(0, 50))


def column_of(name: str = "n", *, known: Any = None, refuses_null: bool = False) -> WatermarkColumn:
    return WatermarkColumn(
        name,
        sync="dag.task",
        kind=EVENTS,
        zone=BERLIN,
        known=None if known is None else stored(known, name),
        refuses_null=refuses_null,
    )


def mapped(
    column: WatermarkColumn, rows: Sequence[Sequence[Any]], names: Sequence[str], chunk_rows: int
) -> Iterator[MappedChunk]:
    chunks = (rows[start : start + chunk_rows] for start in range(0, len(rows), chunk_rows))
    return column.passed(map_rows(names, column.rows(names, chunks), make_options()))


def imported(column: WatermarkColumn, values: Sequence[Any], chunk_rows: int = 2) -> Sent:
    rows = [(f"u{number}", value) for number, value in enumerate(values)]
    return batched(mapped(column, rows, ["user.uid", "n"], chunk_rows), make_options())


def highest(values: Sequence[Any], **options: Any) -> Any:
    column = column_of(**options)
    imported(column, values)
    return None if column.highest is None else restored(column.highest)


@pytest.mark.parametrize(
    "values",
    [
        [1, 3, 2**62, 5, 0],
        [Decimal("1.5"), Decimal("1.50001"), Decimal(-2)],
        [0.5, 1.5, -1.0],
        ["a", "b", "B", "ba"],
        [datetime.date(2026, 1, day) for day in (1, 3, 2)],
        [datetime.datetime(2026, 1, day) for day in (1, 3, 2)],
        [datetime.datetime(2026, 1, day, tzinfo=UTC) for day in (1, 3, 2)],
        [pd.Timestamp(2026, 1, day, nanosecond=5) for day in (1, 3, 2)],
    ],
)
@pytest.mark.parametrize("missing", [[], [None]])
def test_the_highest_value_is_found_whatever_the_order(values: list[Any], missing: list[None]) -> None:
    result = highest([*missing, *values, *missing])
    assert result == max(values)
    assert type(result) is type(max(values))


@pytest.mark.parametrize(
    ("values", "result"),
    [
        ([memoryview(b"a"), bytearray(b"c"), b"b"], b"c"),
        ([np.int64(5), 7, np.int64(6)], 7),
        ([NOON, pd.Timestamp(NOON) + pd.Timedelta(5, "ns")], pd.Timestamp(NOON) + pd.Timedelta(5, "ns")),
        ([float("nan"), 1.5, float("inf"), float("nan"), 0.5], 1.5),
        ([Decimal("NaN"), Decimal(2), Decimal("sNaN"), Decimal("Infinity")], Decimal(2)),
        ([pd.NaT, pd.Timestamp(NOON), pd.NaT], pd.Timestamp(NOON)),
        ([None, None], None),
        ([], None),
    ],
)
def test_what_is_no_value_is_passed_over(values: list[Any], result: Any) -> None:
    column = column_of()
    count = len(values)
    list(column.rows(["n"], [[(value,) for value in values]]))
    # As if each could be sent, since not every value here can.
    [chunk] = column.passed([MappedChunk([EVENTS.struct() for _ in values], range(1, count + 1), [])])
    assert len(chunk.records) == count
    assert column.highest == (None if result is None else stored(result, "n"))


@given(st.lists(st.tuples(st.booleans(), MAYBE)), st.integers(1, 7), st.booleans())
def test_only_records_that_can_be_sent_count(
    drawn: list[tuple[bool, int | None]], chunk_rows: int, refuses_null: bool
) -> None:
    column = column_of(refuses_null=refuses_null)
    rows = [("u" if good else "", value) for good, value in drawn]
    sent = batched(mapped(column, rows, ["user.uid", "n"], chunk_rows), make_options())

    values = [value for good, value in drawn if good and value is not None]
    assert (None if column.highest is None else restored(column.highest)) == max(values, default=None)
    refused = [
        position
        for position, (good, value) in enumerate(drawn, start=1)
        if not good or (refuses_null and value is None)
    ]
    assert [bad.position for bad in sent.refused] == refused
    assert len(sent.events) == len(drawn) - len(refused)
    assert column._in_flight == []


def test_a_column_that_holds_objects_changes_nothing() -> None:
    column = column_of("n")
    rows = [({"uid": f"u{n}" if n % 3 else ""}, n) for n in range(1, 1301)]
    chunks = list(mapped(column, rows, ["user", "n"], 300))
    assert sum(len(chunk.records) for chunk in chunks) == 867
    assert column.highest == stored(1300, "n")


def test_the_column_is_found_exactly_or_without_case() -> None:
    column = column_of("N")
    assert list(column.rows(["a", "n", "N"], [[(1, 2, 3)]])) == [[(1, 2, 3)]]
    assert column._in_flight == [3]
    column = column_of("UPDATED")
    list(column.rows(["a", "Updated"], [[(1, 2)]]))
    assert column._in_flight == [2]


def test_a_column_that_is_missing_is_an_error_before_the_first_row() -> None:
    def rows() -> Iterator[Any]:
        pytest.fail("A row was read.")
        yield

    with pytest.raises(
        FullStoryMappingError, match=r"'n', the watermark of the sync 'dag\.task', .* columns are 'a', 'b'"
    ):
        column_of().rows(["a", "b"], rows())


# NULL -----------------------------------------------------------------------------------------------------


def test_a_record_without_a_value_is_refused_where_nothing_else_keeps_it_from_being_sent_again() -> None:
    column = column_of(refuses_null=True)
    sent = imported(column, [5, None, 4, None, None])
    assert [event["user"]["uid"] for event in sent.events] == ["u0", "u2"]
    assert [(bad.position, bad.refusal.code) for bad in sent.refused] == [
        (position, "required_field") for position in (2, 4, 5)
    ]
    assert "column 'n', the watermark, is NULL" in sent.refused[0].refusal.reason
    assert sent.refused[0].record == {"name": "Odd", "user": {"uid": "u1"}}
    assert column.highest == stored(5, "n")


def test_the_range_of_timestamps_is_that_of_the_records_that_are_left() -> None:
    column = column_of("n", refuses_null=True)
    rows = [("u", 1, NOON), ("u", None, NOON + datetime.timedelta(1)), ("u", 2, NOON)]
    [chunk] = mapped(column, rows, ["user.uid", "n", "timestamp"], 3)
    assert (chunk.timestamps.earliest, chunk.timestamps.latest) == (NOON, NOON)
    assert list(chunk.positions) == [1, 3]


@pytest.mark.parametrize("refuses_null", [True, False])
def test_records_that_came_again_are_warned_of_without_insert_ids(
    refuses_null: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        imported(column_of(known=5, refuses_null=refuses_null), [6, 5, 4, 7, 5])
    assert ("3 events of the sync 'dag.task' came again" in caplog.text) == refuses_null
    caplog.clear()
    imported(column_of(known=5, refuses_null=refuses_null), [6, 7])
    assert not caplog.records


# Types ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1, "2"], "number and a text|text and a whole"),
        ([1, 2, "2", "3"], "number and a text"),
        ([1, 2, 3, 4, 5.5], "number and a floating"),
        ([1, Decimal(2)], "decimal"),
        ([datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)], "date"),
        ([NOON, NOON.replace(tzinfo=None)], "without a time zone"),
        ([NOON, NOON, NOON.replace(tzinfo=None)], "without a time zone"),
        ([NOON, NOON.replace(tzinfo=None), NOON, pd.Timestamp(NOON)], "without a time zone"),
    ],
)
def test_values_of_different_types_are_refused_before_they_are_sent(values: list[Any], says: str) -> None:
    column = column_of()
    chunks = mapped(column, [("u", value) for value in values], ["user.uid", "n"], 2)
    passed = []
    with pytest.raises(FullStoryInputError, match=says) as raised:
        passed += [list(chunk.positions) for chunk in iter(chunks)]
    assert "Cast it to one type" in str(raised.value)
    assert "fullstory-sync set dag.task" in str(raised.value)


def test_values_of_another_type_than_the_stored_one_are_refused() -> None:
    with pytest.raises(
        FullStoryInputError,
        match=r"holds a timestamp without a time zone, but the stored watermark of the sync 'dag\.task' is a "
        r"timestamp with a time zone\..*fullstory-sync set dag\.task VALUE --type local-timestamp",
    ):
        highest([datetime.datetime(2026, 1, 1)], known=NOON)
    assert highest([NOON], known=NOON + datetime.timedelta(1)) == NOON


def test_a_type_that_cannot_be_a_watermark_is_refused() -> None:
    with pytest.raises(FullStoryInputError, match=r"Column 'n' cannot be a watermark.*bool"):
        highest([True, False])


# Time zones -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_rows", [1, 100, 1000])
def test_the_latest_instant_is_the_highest_where_clocks_are_set_back(chunk_rows: int) -> None:
    start = datetime.datetime(2026, 10, 24, 22, tzinfo=UTC)
    instants = [start + datetime.timedelta(minutes=15 * n) for n in range(16)]
    for count in range(1, 17):
        values = [instant.astimezone(BERLIN) for instant in instants[:count]]
        random.Random(count).shuffle(values)
        column = column_of()
        imported(column, values, chunk_rows)
        assert column.highest == stored(instants[count - 1], "n")


def test_instants_of_different_zones_are_compared() -> None:
    zones = [BERLIN, zoneinfo.ZoneInfo("Asia/Tokyo"), UTC, datetime.timezone(datetime.timedelta(hours=-5))]
    values = [(NOON + datetime.timedelta(minutes=n)).astimezone(zone) for n, zone in enumerate(zones)]
    assert highest(values) == NOON + datetime.timedelta(minutes=3)
    assert highest(values[2:]) == NOON + datetime.timedelta(minutes=3)
    assert highest([value.astimezone(BERLIN) for value in values]) == NOON + datetime.timedelta(minutes=3)


# The future -----------------------------------------------------------------------------------------------


def in_days(days: int, zone: datetime.tzinfo | None = UTC) -> datetime.datetime:
    return (datetime.datetime.now(UTC) + datetime.timedelta(days)).replace(tzinfo=zone)


@pytest.mark.parametrize(("days", "is_warned_of"), [(3, True), (0, False)])
@pytest.mark.parametrize(
    "value_in_days",
    [
        in_days,
        lambda days: in_days(days, None),
        lambda days: in_days(days).date(),
        lambda days: in_days(days).isoformat(),
        lambda days: in_days(days, None).isoformat(),
        lambda days: in_days(days).date().isoformat(),
    ],
)
def test_a_value_in_the_future_is_warned_of_once(
    value_in_days: Callable[[int], Any], days: int, is_warned_of: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert highest([value_in_days(days)] * 5) is not None
    assert len(caplog.records) == is_warned_of
    if is_warned_of:
        assert "fullstory-sync set dag.task VALUE" in caplog.text


@pytest.mark.parametrize("value", ["zzz", 2**62])
def test_what_is_no_timestamp_is_not_in_the_future(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert highest([value] * 5) is not None
    assert not caplog.records
