"""A refused record keeps what was there, is refused again as it is, and is sent once it is fixed."""

# ruff: noqa: DTZ001, DTZ901 - Datetimes without an offset are among what is tested.

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import shared_part
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.refused_records import record_of_line
from tests.records.refusing import (
    BERLIN,
    GOOD,
    HOSTILE,
    PLACES,
    again,
    check_json,
    check_refused_again,
    line_of,
    refused,
    send,
    send_rows,
    written,
)
from tests.records.sending import read_refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# In a file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_refused_records_are_read_back_from_a_file_and_refused_again(tmp_path: Path, suffix: str) -> None:
    import gzip

    records = [place(value) for value in HOSTILE.values() for place in PLACES.values()]
    records = [record for record in records if not _is_known_to_change(record)]
    invalid = send(records).refused
    assert [one.position for one in invalid] == list(range(1, len(records) + 1))
    content = b"".join(line_of(one) + b"\n" for one in invalid)
    file = tmp_path / f"refused.{suffix}"
    file.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)

    sent = send(list(read_refused(f"file://{file}")))

    assert sent.events == []
    assert len(sent.refused) == len(records)


def _is_known_to_change(record: Any) -> bool:
    """Leave out what has tests of its own above."""
    try:
        return not again(send([record]).refused[0]).refused
    except (AssertionError, msgspec.MsgspecError, TypeError, ValueError):
        return True


def test_a_record_with_the_keys_of_a_line_is_not_taken_for_one() -> None:
    record = {"event": "clicked", "refusal": "x"}
    assert record_of_line(EVENTS, record) is record


# What was converted ---------------------------------------------------------------------------------------


def test_a_refused_record_has_what_would_have_been_sent() -> None:
    columns = ["customer", "ordered_at", "total", "at", "day", "ids", "missing"]
    row = (
        7,
        datetime.datetime(2026, 7, 1, 12),
        Decimal("5.50"),
        datetime.datetime(2026, 1, 1, 12),
        datetime.date(2026, 1, 2),
        [1, 2],
        None,
    )
    mapping = {"user.uid": "customer", "timestamp": "ordered_at", "page_properties.at": "at"}

    [invalid] = send_rows(
        columns, [row], mapping=mapping, zone=BERLIN, schema={"total": "real", "day": "date"}
    ).refused

    assert invalid.refusal.code == "required_field"
    assert DECODER.decode(ENCODER.encode(invalid.record)) == {
        "timestamp": "2026-07-01T10:00:00Z",
        "user": {"uid": "7"},
        "properties": {"total": Decimal("5.50"), "day": "2026-01-02", "ids": [1, 2]},
        "schema": {"properties": {"total": "real", "day": "date", "ids": "ints"}},
        "page_properties": {"at": "2026-01-01T11:00:00Z"},
        "page_properties_schema": {"properties": {"at": "date"}},
    }


def test_a_refused_record_with_a_mapping_needs_none() -> None:
    record = {"Customer": 7, "when": "2026-07-01T12:00:00", "x": float("nan")}
    mapping = {"user.uid": "customer", "timestamp": "when", "name": "x", "properties.kept": "when"}

    assert written(record, mapping=mapping, zone=BERLIN) == {
        "name": {"$float": "nan"},
        "timestamp": "2026-07-01T10:00:00Z",
        "user": {"uid": "7"},
        "properties": {"kept": "2026-07-01T12:00:00"},
    }


def fixed(record: Any, path: str, value: Any) -> Any:
    """Return a record with one value put right, as a person would do it."""
    *parents, last = path.split(".")
    target = record
    for part in parents:
        target = target.setdefault(part, {})
    target[last] = value
    return record


def check_fixed(record: Any, path: str, value: Any, right: Any, **options: Any) -> None:
    """A fixed record sends what the record would have sent, had it been right."""
    again = fixed(written(record, **options), path, value)
    assert send([again]).event == send([right], **options).event


WHOLE = {
    "at": datetime.datetime(2026, 7, 1, 12),
    "day": datetime.date(2026, 1, 1),
    "days": [datetime.date(2026, 1, 1)],
    "number": 5,
    "share": 0.5,
    "text": "t",
    "flag": True,
    "id": uuid.UUID(int=5),
    "took": datetime.timedelta(seconds=5),
    "time": datetime.time(12),
    "amount": Decimal("5.50"),
    "object": {"at": datetime.datetime(2026, 7, 1, 12), "number": 7},
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("root", ["properties", "page_properties"])
def test_a_fixed_record_sends_its_other_values_as_they_were(name: str, root: str) -> None:
    record = {"user.uid": "u", f"{root}.{name}": WHOLE[name]}

    check_fixed(record, "name", "A", record | {"name": "A"}, zone=BERLIN)


@pytest.mark.parametrize("amount", [Decimal(5), Decimal(100), Decimal("1E+2"), Decimal("-0")])
def test_a_fixed_record_sends_whole_decimals_as_the_reals_that_they_were(amount: Decimal) -> None:
    # NUMERIC columns and sums of integers come as such, and FullStory takes them for reals.
    record = {"user.uid": "u", "amount": amount}

    event = send([fixed(written(record), "name", "A")]).event
    types = event.pop("schema", {}).get("properties", {})
    assert event == send([record | {"name": "A"}]).event
    assert types.get("amount", "real") == "real"


def test_a_fixed_record_keeps_the_declared_type_of_the_value_that_was_refused() -> None:
    record = GOOD | {"amount": float("nan")}

    check_fixed(record, "properties.amount", 5, GOOD | {"amount": 5}, schema={"amount": "real"})


def test_a_fixed_record_keeps_the_types_beside_the_value_that_was_refused() -> None:
    inside = {"at": datetime.datetime(2026, 7, 1, 12), "bad": b"x"}
    right = GOOD | {"x": inside | {"bad": "y"}}

    check_fixed(GOOD | {"x": inside}, "properties.x.bad", "y", right, zone=BERLIN)


def test_a_fixed_record_keeps_the_declared_types_beside_the_value_that_was_refused() -> None:
    right = GOOD | {"x": {"amount": 5, "bad": "y"}}

    check_fixed(
        GOOD | {"x": {"amount": 5, "bad": b"x"}}, "properties.x.bad", "y", right, schema={"x.amount": "real"}
    )


# Nothing is lost ------------------------------------------------------------------------------------------


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


@pytest.mark.parametrize(
    "record",
    [
        {"user.uid": "keep1", "user": 5},
        {"user.uid": "keep1", "user": "keep2"},
        {"user": {"uid": "keep1"}, "USER.UID": "keep2"},
        {"properties": "keep1", "a": "keep2"},
        {"a": "keep2", "properties": {"b": "keep1", b"key": "keep3"}},
        {"properties": {"b": "keep1", None: "keep3"}, "properties.c": "keep2", "a": "keep4"},
        {"context.location.city": "keep1", "context": {"browser": "keep2"}},
        {"context": {"browser": 5, "location": {"city": "keep1"}}, "context.mobile.app_id": "keep2"},
        {"a": "keep1", "properties.a": "keep2"},
        {"properties.a": "keep1", "properties.a.b": "keep2"},
        {"properties.a": {"b": "keep1", "c": b""}, "properties.a.b": "keep2"},
        {"user": "keep1", "USER": "keep2"},
        {1: "keep1", "1": "keep2"},
        {"x": {1: "keep1", "1": "keep2"}},
        {"x": {b"a": "keep1", "YQ==": "keep2"}},
        {"schema": {"keep1": "keep2"}, "a": "keep3"},
        {"name": {"first": "keep1"}, "NAME": "keep2"},
        {"x": "keep1", "user.uuid": "keep2", "session.idd": "keep3"},
    ],
    ids=str,
)
def test_a_refused_record_has_every_value_of_its_record(record: dict[Any, Any]) -> None:
    [invalid] = send([{"name": "A"} | record], allow_anonymous=True).refused

    written = set(map(str, leaves(invalid.record)))
    kept = {text for text in map(str, leaves(record)) if text.startswith("keep")}
    assert kept <= written


@pytest.mark.parametrize(
    ("options", "record"),
    [
        ({"mapping": {"user.uid": "customer"}}, {"customer": "keep1", "user.uid": "keep2"}),
        ({"mapping": {"user.uid": "customer"}}, {"customer": 1.5, "user.uid": "keep2"}),
        ({"mapping": {"user": "customer"}}, {"customer": "keep1", "user.uid": "keep2"}),
        ({"mapping": {"properties.a": "b", "properties.c": "b"}}, {"b": "keep1", "a": "keep2"}),
    ],
)
def test_a_refused_record_has_every_value_that_a_mapping_moved(options: dict[str, Any], record: Any) -> None:
    [invalid] = send([{"name": "A"} | record], **options).refused

    written = set(map(str, leaves(invalid.record)))
    assert {text for text in map(str, record.values()) if text.startswith("keep")} <= written
    check_refused_again(invalid)


# Refused again though the options are gone ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "options"),
    [
        (GOOD | {"x": "a"}, {"schema": {"x": "int"}}),
        (GOOD | {"x": 5}, {"schema": {"x": "str"}}),
        (GOOD | {"x": 5.5}, {"schema": {"x": "int"}}),
        (GOOD | {"x": "yesterday"}, {"schema": {"x": "date"}}),
        (GOOD | {"x": {"y": [1.5]}}, {"schema": {"x.y": "ints"}}),
        (GOOD | {"x": Decimal(5)}, {"schema": {"x": "str"}}),
        (GOOD | {"x": 5, "schema": {"properties": {"x": "str"}}}, {"schema": {"x": "int"}}),
        (GOOD | {"x": uuid.UUID(int=1)}, {"schema": {"x": "date"}}),
        (GOOD | {"x": datetime.timedelta(seconds=5)}, {"schema": {"x": "str"}}),
        ({"name": "A", "x": 1}, {}),
        ({"user.uid": "u"}, {}),
        ({"name": None, "user.uid": "u"}, {}),
        ({"name": "A", "user.uid": "u", "user.id": "1"}, {}),
        ({"name": "A", "user.uid": "u", "session.id": "1:2"}, {}),
        ({"name": "A", "session.use_most_recent": 1}, {}),
        ({"name": "A", "session.id": "1:2", "session.use_most_recent": True}, {}),
        (GOOD | {"timestamp": "0001-01-01T00:00:00"}, {"zone": BERLIN}),
        (GOOD | {"timestamp": datetime.datetime.min}, {"zone": BERLIN}),
        (GOOD | {"timestamp": datetime.date.min}, {"zone": BERLIN}),
        (GOOD | {"x": datetime.datetime.min}, {"zone": BERLIN}),
        (GOOD | {"context.browser.url": datetime.date(2026, 1, 1)}, {}),
        (GOOD | {"context.browser.url": 5.0}, {}),
        (GOOD | {"context.browser.url": Decimal("5.5")}, {}),
        (GOOD | {"context.location.latitude": Decimal(91)}, {}),
        (GOOD | {"context.device.screen_width": 5.5}, {}),
        (GOOD | {"session.use_most_recent": Decimal(1)}, {}),
        (GOOD | {"session.use_most_recent": 1.0}, {}),
        (GOOD | {"timestamp": datetime.time(12)}, {}),
        (GOOD | {"timestamp": Decimal(20260101)}, {}),
        ({"customer": 1.5, "name": "A"}, {"mapping": {"user.uid": "customer"}}),
        ({"customer": None, "name": "A"}, {"mapping": {"user.uid": "customer"}}),
        ({"kind": 7.5, "user.uid": "u"}, {"mapping": {"name": "kind"}}),
    ],
)
def test_a_refused_record_is_refused_again_without_the_options(record: Any, options: dict[str, Any]) -> None:
    invalid = refused(record, **options) if "mapping" not in options else send([record], **options).refused[0]

    check_json(invalid)
    check_refused_again(invalid)


def test_a_refused_record_that_only_an_option_refused_may_be_accepted_as_it_was() -> None:
    shared = shared_part({"user": {"uid": "shared"}}, MappingOptions(EVENTS))
    [of_shared] = send([GOOD], shared=shared).refused
    [of_name] = send([GOOD], name="B").refused

    for invalid in (of_shared, of_name):
        assert again(invalid).events in ([], [{"name": "A", "user": {"uid": "u"}}])


def test_a_refused_row_has_all_values_of_a_row_with_objects() -> None:
    [invalid] = send_rows(
        ["name", "user", "properties", "n"], [("A", '{"uid": 5.5}', '{"a": 1, "at": "x"}', 7)]
    ).refused

    assert DECODER.decode(ENCODER.encode(invalid.record)) == {
        "name": "A",
        "user": {"uid": {"$Decimal": "5.5"}},
        "properties": {"a": 1, "at": "x", "n": 7},
        "schema": {"properties": {"a": "int", "n": "int"}},
    }
