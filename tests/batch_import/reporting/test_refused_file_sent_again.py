"""A refused record that is sent again as it is is refused again."""

from __future__ import annotations

import datetime
import json
import logging
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_fullstory.batch_import.reporting.fingerprints import SentImport
from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records
from airflow_provider_fullstory.records.options import MappingOptions
from tests.records.sending import read_refused
from tests.records.test_mapping_any_rows import records
from tests.refused_file import NAIVE, Opaque, fix, in_the_task, lines_of, record
from tests.tries import numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("short_waits")


BEGINNING = datetime.datetime(1, 1, 1)  # noqa: DTZ001


UNFIXED: dict[str, Any] = {
    "NaN": {"x": math.nan},
    "infinity": {"x": -math.inf},
    "NaN among others": {"x": [1.0, math.nan]},
    "NaN in an object": {"x": {"a": 1, "b": math.nan}},
    "decimal NaN": {"x": Decimal("NaN")},
    "decimal beyond": {"x": Decimal("1E+400")},
    "bytes": {"x": b"abc"},
    "bytes as id": {"user.uid": b"abc"},
    "float id": {"user.uid": 5.0},
    "decimal id": {"user.uid": Decimal("5.5")},
    "date as id": {"user.uid": datetime.date(2026, 1, 1)},
    "moment as id": {"user.uid": NAIVE},
    "bool as id": {"user.uid": True},
    "object as id": {"user.uid": {"a": 1}},
    "list as id": {"user.uid": [1]},
    "empty id": {"user.uid": ""},
    "long id": {"user.uid": "x" * 257},
    "float name": {"name": 1.5},
    "2**70": {"x": 2**70},
    "2**70 in a list": {"x": [2**70]},
    "2**20000": {"x": 2**20000},
    "lone surrogate": {"x": "a\ud800"},
    "lone surrogate as id": {"user.uid": "a\ud800"},
    "lone surrogate in an object": {"x": {"a": "\udfff"}},
    "lone surrogate in a key": {"a\ud800": 1},
    "lone surrogate in an inner key": {"x": {"a\ud800": 1}},
    "set": {"x": {1, 2}},
    "object of Python": {"x": Opaque()},
    "list of lists": {"x": [[1]]},
    "list of objects": {"x": [{"a": 1}]},
    "mixed list": {"x": [1, "a"]},
    "number as timestamp": {"timestamp": 1700000000},
    "float as timestamp": {"timestamp": 1700000000.5},
    "text as timestamp": {"timestamp": "tomorrow"},
    "naive text at the end of time": {"timestamp": "9999-12-31T23:59:59"},
    "naive text at the beginning of time": {"timestamp": "0001-01-01T00:00:00"},
    "naive moment at the beginning of time": {"timestamp": BEGINNING},
    "naive date at the beginning of time": {"timestamp": datetime.date.min},
    "naive property at the beginning of time": {"x": BEGINNING},
    "time as timestamp": {"timestamp": datetime.time(1)},
    "unknown field": {"user.name": "x"},
    "unknown field, nested": {"user": {"uid": "u", "name": "x"}},
    "unknown field with a float": {"context.zip": 5.5},
    "bad name": {"order id": 1},
    "bad name with a float": {"order id": 1.5},
    "bad inner name": {"x": {"order id": 1}},
    "long name": {"x" * 513: 1},
    "clash": {"user": {"uid": "v"}},
    "clash in spelling": {"User.UID": "v"},
    "clash of properties": {"x": 1, "properties": {"x": 2}},
    "clash of a property and its inside": {"x": 1, "properties.x.y": 2},
    "clash inside": {"x": {"a.b": 1, "a": {"b": 2}}},
    "two users": {"user.id": "i"},
    "number as key": {5: 1},
    "None as key": {None: ["rest"]},
    "True as key": {True: 1},
    "bytes as key": {b"abc": 1},
    "NaN as key": {math.nan: 1},
    "None as inner key": {"x": {None: 1}},
    "bytes as inner key": {"x": {b"abc": 1}},
    "NaN as inner key": {"x": {math.nan: 1}},
    "None as key of properties": {"properties": {"a": 1, None: 2}},
    "text as properties": {"properties": "oops", "x": 1},
    "text as user": {"user": "bob"},
    "number as context": {"context": 5},
    "context beyond": {"context.location.latitude": 95.5},
    "number of pixels": {"context.device.screen_width": 1.5},
    "word as truth": {"session.use_most_recent": "yes"},
    "own schema": {"schema": {"properties": {"x": "int"}}, "x": "a"},
    "own schema of nonsense": {"schema": {"x": "int"}, "x": 1},
    "own schema that is NaN": {"schema": math.nan},
    "own schema of no such type": {"schema": {"properties": {"x": "money"}}, "x": 1},
    "no name": {"name": None},
    "nobody": {"user.uid": None},
}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("case", UNFIXED)
def test_what_is_not_fixed_is_refused_again(
    *,
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    uri: str,
    tmp_path: Path,
    case: str,
    zone: str,
) -> None:
    fields = {"name": "Order", "user.uid": "u"} | UNFIXED[case]
    first = in_the_task(make_context(), events=[record(1), fields], timezone=zone, rejected_uri=uri)
    if first["invalid"] == 0:
        assert "of time" in case  # The other zone is meant.
        return
    for round_ in range(2):
        context = make_context(run_id=f"again-{round_}")
        target = f"file://{tmp_path}/again-{round_}.ndjson"
        report = in_the_task(context, events=uri, rejected_uri=target)
        assert (report["records"], report["imported"], report["invalid"]) == (1, 0, 1), emulator.events()
        [line], [before] = lines_of(target), lines_of(uri)
        assert leaves(line["event"] | {"schema": None}) == leaves(before["event"] | {"schema": None})
        uri = target


@pytest.mark.parametrize("case", UNFIXED)
@pytest.mark.parametrize("log_values", [False, True])
def test_any_refused_record_can_be_logged(
    emulator: EmulatorClient, context: Any, caplog: Any, *, case: str, log_values: bool
) -> None:
    caplog.set_level(logging.INFO)
    fields = {"name": "Order", "user.uid": "u"} | UNFIXED[case]
    report = in_the_task(
        context, events=[fields, record(2)], timezone="America/New_York", log_values=log_values
    )
    assert report["imported"] + report["invalid"] == 2
    assert numbers(emulator) == [2] if report["invalid"] else "of time" in case
    assert caplog.text.count("Not sent: record 1") == report["invalid"]


def leaves(value: Any) -> list[str]:
    """Return all values, without the types that are declared for them."""
    if isinstance(value, dict):
        return sorted(
            text for key, item in value.items() if not key.endswith("schema") for text in leaves(item)
        )
    if isinstance(value, list):
        return sorted(text for item in value for text in leaves(item))
    return [repr(value)]


@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(records, max_size=8), st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
def test_no_record_at_all_is_accepted_unfixed(
    tmp_path_factory: pytest.TempPathFactory, found: list[Any], zone: str
) -> None:
    """Through the line of the file and back, without an emulator: there are too many ways to be wrong."""
    options = MappingOptions(EVENTS, zone=pendulum.timezone(zone))
    named = [item | {"name": "Odd"} if isinstance(item, dict) else item for item in found]
    chunks = map_records(named, options)
    refused = [refused for chunk in chunks for refused in chunk.invalid]
    nowhere = RefusedFile(EVENTS, None, "file", "import", "file")  # type: ignore[arg-type]
    lines = [nowhere.line(item.record, {}, SentImport()) for item in refused]
    file = tmp_path_factory.mktemp("lines") / "file.ndjson"
    file.write_bytes(b"".join(lines))
    again = list(read_refused(file))
    assert len(again) == len(refused)
    accepted = [
        (refused[position - 1], lines[position - 1])
        for chunk in map_records(again, MappingOptions(EVENTS))
        for position in chunk.positions
    ]
    assert not accepted


def test_declared_types_are_held_again(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    events = [{"name": "A", "user.uid": "u", "amount": "x"}]
    in_the_task(make_context(), events=events, schema={"amount": "int"}, rejected_uri=uri)
    assert in_the_task(make_context(run_id="2"), events=uri)["invalid"] == 1


@pytest.mark.parametrize("own", [{"context.browser.url": "https://own"}, {"user.uid": "own"}])
def test_what_clashes_with_what_is_shared_is_refused_again(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, own: dict[str, Any]
) -> None:
    events = [{"name": "A", "number": 1, **own}]
    shared = {"user": {"uid": "shared"}, "context": {"browser": {"url": "https://shared"}}}
    first = in_the_task(make_context(), events=events, shared=shared, rejected_uri=uri)
    assert first["invalid"] == 1
    assert in_the_task(make_context(run_id="2"), events=uri)["invalid"] == 1, lines_of(uri)


BROKEN_LINES = {
    "no JSON": b"{broken",
    "half a line": b'{"name": "A", "user": {"uid": "u"',
    "no UTF-8": b'{"name": "\xff"}',
    "half a surrogate": b'{"name": "A", "user": {"uid": "u"}, "x": "\\ud800"}',
    "a number": b"5",
    "a text": b'"abc"',
    "null": b"null",
    "a list": b'[{"name": "A"}]',
    "true": b"true",
    "NaN": b'{"name": "A", "user": {"uid": "u"}, "x": NaN}',
    "too large a number": b'{"name": "A", "user": {"uid": "u"}, "x": 1e99999999999999999999}',
    "a large number": b'{"name": "A", "user": {"uid": "u"}, "x": 1e999}',
    "a long number": b'{"name": "A", "user": {"uid": "u"}, "x": 1180591620717411303424}',
    "nested too deep": b"[" * 5000 + b"]" * 5000,
    "objects nested too deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
}


@pytest.mark.parametrize("case", BROKEN_LINES)
def test_broken_lines_are_refused_again_until_they_are_fixed(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path, case: str
) -> None:
    file = tmp_path / "source.ndjson"
    good = b'{"name": "A", "user": {"uid": "u"}, "number": 1}'
    file.write_bytes(b"\n".join([good, b"", BROKEN_LINES[case], good]))
    first = in_the_task(make_context(), events=f"file://{file}", rejected_uri=uri)
    assert (first["records"], first["invalid"], first["imported"]) == (3, 1, 2)
    [line] = lines_of(uri)
    assert line["refusal"]["position"] == 2
    again = in_the_task(make_context(run_id="2"), events=uri)
    assert (again["records"], again["invalid"]) == (1, 1)
    fix(uri, {2: lambda _: json.loads(good)})
    fixed = in_the_task(make_context(run_id="3"), events=uri)
    assert (fixed["records"], fixed["imported"]) == (1, 1)


NO_RECORDS = [5, "text", None, 1.5, math.nan, b"bytes", datetime.date(2026, 1, 1), {1, 2}, "\ud800", Opaque()]


@pytest.mark.parametrize("value", NO_RECORDS, ids=repr)
def test_what_is_no_record_is_refused_again(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, value: Any
) -> None:
    first = in_the_task(make_context(), events=iter([record(1), value]), rejected_uri=uri)
    assert (first["invalid"], first["imported"]) == (1, 1)
    assert lines_of(uri)[0]["refusal"]["position"] == 2
    assert in_the_task(make_context(run_id="2"), events=uri)["invalid"] == 1
