"""Text is a timestamp only where it is ISO 8601, and an event without one is never an accident."""

from __future__ import annotations

import datetime
import itertools
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.records.mapping import map_records, map_rows
from airflow_provider_fullstory.records.timestamps import (
    TimestampSummary,
    is_timestamp,
    parsed,
    parsed_column,
)
from tests.records.sending import make_options, send_field, send_records, send_rows, send_value

UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
MISSING = (
    "timestamp is NULL, so FullStory would take the time of the import; set allow_missing_timestamp=True if "
    "that is wanted"
)


def moment(hour: int, day: int = 1) -> datetime.datetime:
    return datetime.datetime(2026, 7, day, hour, tzinfo=UTC)


# Text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ("2026-07-01T12:00:00.5Z", "2026-07-01T12:00:00.500000Z"),
        ("2026-07-01T12:00:00.123456789Z", "2026-07-01T12:00:00.123456Z"),
        ("2026-07-01T12:00:00,5Z", "2026-07-01T12:00:00.500000Z"),
        ("2026-07-01T12:00Z", "2026-07-01T12:00:00Z"),
        ("2026-07-01T12:00:00+02:00", "2026-07-01T10:00:00Z"),
        ("2026-07-01T12:00:00+0200", "2026-07-01T10:00:00Z"),
        ("2026-07-01 12:00:00+02", "2026-07-01T10:00:00Z"),
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00Z"),
        ("2026-07-01", "2026-06-30T22:00:00Z"),
        ("1880-01-01 00:00:00+00:53:28", "1879-12-31T23:06:32Z"),
        # Snowflake, SQL Server and BigQuery print these.
        ("2026-07-01 12:00:00.000 -0700", "2026-07-01T19:00:00Z"),
        ("2026-07-01 12:00:00.0000000 +05:30", "2026-07-01T06:30:00Z"),
        ("2026-07-01 12:00:00.123 Z", "2026-07-01T12:00:00.123000Z"),
        ("2026-07-01 12:00:00 UTC", "2026-07-01T12:00:00Z"),
        ("2026-07-01 12:00:00.123456 UTC", "2026-07-01T12:00:00.123456Z"),
    ],
)
def test_text_as_fullstory_documents_it_and_as_databases_print_it_is_a_timestamp(
    text: str, sent: str
) -> None:
    assert send_field("timestamp", text, zone=BERLIN).event["timestamp"] == sent
    assert is_timestamp(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-01X12:00:00Z",
        "2026-07-01_12:00:00",
        "2026-07-01  12:00:00",
        "2026-07-01T12",
        "2026-07-01T12:00:00.Z",
        "2026-07-01T12:00:00.1234567890Z",
        "2026-07-01T12:00:00 Europe/Berlin",
        "2026-07-01T12:00:00+2",
        "2026-07-01T25:00:00Z",
        "2026-07-01Z",
        "2026-7-1",
        "20260701T120000Z",
        "2026-W27-3",
        "2026-W27",
        "2026-182",
        "01/07/2026",
        "12:00:00",
        "infinity",
        "now",
    ],
)
def test_other_text_is_no_timestamp(text: str) -> None:
    assert "is text that is not ISO 8601" in send_field("timestamp", text).reason
    assert not is_timestamp(text)


@given(st.integers(0, 2**43).map(str))
def test_no_epoch_number_is_a_timestamp(text: str) -> None:
    assert not is_timestamp(text)
    sent = send_field("timestamp", text)
    assert sent.reason.endswith(
        "is a number as text, not ISO 8601; make it a timestamp in the query (to_timestamp)"
    )


@given(st.lists(st.datetimes(timezones=st.sampled_from([None, UTC, BERLIN])).map(str), min_size=1))
def test_texts_together_are_what_they_are_alone(texts: list[str]) -> None:
    assert parsed_column(texts) == [parsed(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00Z"),
        ("2026-07-01T12:00:00 UTC", "2026-07-01T12:00:00Z"),
        ("2026-07-01", "2026-07-01"),
    ],
)
def test_text_of_a_property_that_is_declared_a_date_is_sent_as_what_it_means(text: str, sent: str) -> None:
    event = send_value(text, schema={"x": "date"}, zone=BERLIN).event

    assert event["properties"] == {"x": sent}
    assert event["schema"] == {"properties": {"x": "date"}}


@pytest.mark.parametrize("text", ["1704101212345", "yesterday", "2026-07-01X12:00:00Z"])
@pytest.mark.parametrize("value", [lambda text: text, lambda text: {"y": text}], ids=["column", "object"])
def test_a_property_is_a_date_by_the_same_rule(text: str, value: Any) -> None:
    name = "x" if value(text) == text else "x.y"

    sent = send_value(value(text), schema={name: "date"})

    assert sent.reason == f"property '{name}' is declared 'date', which its value is not"


# NULL -----------------------------------------------------------------------------------------------------


def test_a_record_whose_timestamp_is_null_is_refused() -> None:
    times = [moment(1), None, moment(2)]

    of_rows = send_rows(["timestamp", "x"], list(zip(times, "abc", strict=True)))
    of_records = send_records({"timestamp": time, "x": x} for time, x in zip(times, "abc", strict=True))

    assert of_rows == of_records
    assert [event["properties"]["x"] for event in of_rows.events] == ["a", "c"]
    [refused] = of_rows.refused
    assert (refused.position, refused.refusal.code) == (2, "required_field")
    assert refused.refusal.reason == MISSING


def test_a_refused_record_goes_on_being_refused_until_it_has_a_timestamp() -> None:
    [refused] = send_records([{"timestamp": None, "x": 1}]).refused

    assert refused.record["timestamp"] is None
    assert send_records([refused.record], name=None).reason == MISSING
    fixed = refused.record | {"timestamp": "2026-07-01T01:00:00Z"}
    assert send_records([fixed], name=None).event["properties"] == {"x": 1}


def test_a_null_timestamp_is_sent_where_that_is_wanted() -> None:
    of_rows = send_rows(["timestamp", "x"], [(None, 1)], allow_missing_timestamp=True)

    assert of_rows == send_records([{"timestamp": None, "x": 1}], allow_missing_timestamp=True)
    assert "timestamp" not in of_rows.event


def test_another_reason_comes_first() -> None:
    assert "ISO 8601" in send_rows(["timestamp"], [("yesterday",)]).reason


@pytest.mark.parametrize(
    "records", list(itertools.permutations([{"timestamp": moment(1)}, {"timestamp": None}, {"x": 1}]))
)
def test_records_without_a_key_for_it_are_sent_in_any_order(records: tuple[dict[str, Any], ...]) -> None:
    sent = send_records(records)

    assert len(sent.events) == 2
    assert [invalid.refusal.reason for invalid in sent.refused] == [MISSING]


def test_the_key_that_mapping_names_is_needed() -> None:
    records = [{"at": moment(1)}, {"x": 1}, {"at": None}, {"timestamp": moment(2)}, {"AT": moment(3)}]

    sent = send_records(records, mapping={"Timestamp": "at"})

    assert [event["timestamp"] for event in sent.events] == [
        f"2026-07-01T0{hour}:00:00Z" for hour in (1, 2, 3)
    ]
    assert [invalid.position for invalid in sent.refused] == [2, 3]
    assert {invalid.refusal.reason for invalid in sent.refused} == {MISSING}


def test_rows_whose_objects_are_taken_apart_keep_to_the_same_rule() -> None:
    rows = [(None, {"uid": "u"}), (moment(1), {"uid": "v"})]

    assert [invalid.position for invalid in send_rows(["timestamp", "user"], rows).refused] == [1]
    mapped = send_rows(["at", "user"], rows, mapping={"timestamp": "at"})
    assert [invalid.position for invalid in mapped.refused] == [1]


# At a glance ----------------------------------------------------------------------------------------------


def test_a_chunk_knows_its_timestamps_at_a_glance() -> None:
    rows = [(moment(3),), (moment(1),), (None,), (moment(2),), ("tomorrow",)]
    options = make_options(allow_missing_timestamp=True)

    [of_rows] = map_rows(["timestamp"], [rows], options)
    [of_records] = map_records([{"timestamp": value} for [value] in rows], options)

    assert of_rows.timestamps == of_records.timestamps == TimestampSummary(moment(1), moment(3), 1)


def test_what_is_refused_does_not_count() -> None:
    rows = [(moment(3), "u"), (moment(1), ""), (None, "u")]

    [chunk] = map_rows(["timestamp", "user.uid"], [rows], make_options())

    assert chunk.timestamps == TimestampSummary(moment(3), moment(3), 0)


def test_records_of_several_forms_are_counted_together() -> None:
    records = [{"timestamp": moment(3)}, {"x": 1}, {"timestamp": moment(1), "x": 1}, {"y": 1}]

    [chunk] = map_records(records, make_options())

    assert chunk.timestamps == TimestampSummary(moment(1), moment(3), 2)


@given(
    st.lists(
        st.builds(TimestampSummary, st.none(), st.none(), st.integers(0, 5))
        | st.lists(st.integers(0, 23), min_size=1).map(
            lambda hours: TimestampSummary(moment(min(hours)), moment(max(hours)), 1)
        )
    )
)
def test_sums_hold_the_extremes_of_all(parts: list[TimestampSummary]) -> None:
    total = sum(parts, TimestampSummary())

    given_moments = [one for part in parts for one in (part.earliest, part.latest) if one is not None]
    assert total.missing == sum(part.missing for part in parts)
    assert total.earliest == min(given_moments, default=None)
    assert total.latest == max(given_moments, default=None)
