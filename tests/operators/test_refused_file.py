"""The file of refused records: complete, with the right places, never lost, and good to be sent again."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import gzip
import json
import logging
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import fsspec
import msgspec
import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath, TaskDeferred
from hypothesis import HealthCheck, given, settings, strategies as st

try:
    from airflow.sdk.io import attach
except ImportError:
    from airflow.io.store import attach

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.batch_import.folder import Folder
from airflow_provider_fullstory.batch_import.importer import Importer
from airflow_provider_fullstory.batch_import.refused import RefusedFile
from airflow_provider_fullstory.batch_import.traces import Facts
from airflow_provider_fullstory.exceptions import FullStoryError
from airflow_provider_fullstory.operators import fullstory as operators
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.records.events import events_of_records
from airflow_provider_fullstory.records.mapping import MappingOptions
from airflow_provider_fullstory.records.sources import records_of
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.accounting import check_accounted
from tests.conftest import run
from tests.records.test_any_rows import records
from tests.tries import Breaking, Crash, change_warehouse, make_warehouse, numbers, posts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.tries import Task

MANY: Final = 10**6


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "max_rejected": MANY, **arguments}
    return FullStoryImportEventsOperator(**given)


def in_the_task(context: Any, **arguments: Any) -> dict[str, Any]:
    return dict(run(importing(deferrable=False, **arguments), context))


def in_the_triggerer(context: Any, **arguments: Any) -> dict[str, Any]:
    # A job that is finished at the first look needs no deferral.
    with patch.object(Importer, "look", lambda _, job_ids: None if job_ids else []):
        return dict(run(importing(deferrable=True, **arguments), context))


def in_the_sensor(context: Any, **arguments: Any) -> dict[str, Any]:
    submitted = run(importing(wait_for_completion=False, **arguments), context)
    names = ("max_rejected", "log_values")
    sensor = FullStoryImportJobSensor(
        **{
            "task_id": "wait",
            "job_ids": json.loads(json.dumps(submitted)),
            "poke_interval": 0.01,
            "deferrable": True,
            "max_rejected": MANY,
            **{name: arguments[name] for name in names if name in arguments},
        }
    )
    with patch.object(FullStoryImportJobSensor, "_look"):
        return dict(run(sensor, context))


WAYS = pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer, in_the_sensor])


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(operators, "_RETRY_FOR", 0.05)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}/refused/file.ndjson"


@pytest.fixture
def memory() -> str:
    attach("memory", fs=fsspec.filesystem("memory"))
    root = "memory://refused-bucket"
    if ObjectStoragePath(root).exists():
        ObjectStoragePath(root).rmdir(recursive=True)
    return root


def content_of(uri: str) -> bytes:
    path = ObjectStoragePath(uri)
    content: bytes = path.read_bytes()
    return gzip.decompress(content) if uri.endswith(".gz") else content


def lines_of(uri: str) -> list[dict[str, Any]]:
    content = content_of(uri)
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def write(uri: str, content: bytes) -> None:
    ObjectStoragePath(uri).parent.mkdir(parents=True, exist_ok=True)
    ObjectStoragePath(uri).write_bytes(gzip.compress(content) if uri.endswith(".gz") else content)


def files_below(uri: str) -> list[str]:
    """Return the names of all files, those of side folders included."""
    root = ObjectStoragePath(uri)
    return sorted(path.name for path in root.rglob("*") if path.is_file()) if root.exists() else []


def record(position: int, **more: Any) -> dict[str, Any]:
    return {"name": "Order", "user.uid": f"u{position}", "number": position, **more}


def source(count: int, invalid: Iterable[int] = (), rejected: Iterable[int] = ()) -> list[dict[str, Any]]:
    """Return records, some to be refused here, some by FullStory; each knows its place."""
    made_records: list[dict[str, Any]] = []
    for position in range(1, count + 1):
        made = record(position)
        if position in set(rejected):
            made["only_fullstory_refuses"] = True
        if position in set(invalid):
            del made["name"]
        made_records.append(made)
    return made_records


def check_file(
    report: dict[str, Any],
    emulator: EmulatorClient,
    count: int,
    invalid: Iterable[int],
    rejected: Iterable[int],
    *,
    batch_size: int = 10,
) -> None:
    """Hold report, file and emulator to each other for records made by ``source``."""
    check_accounted(report)
    invalid, rejected = sorted(invalid), sorted(set(rejected) - set(invalid))
    refused = {*invalid, *rejected}
    assert (report["records"], report["invalid"], report["rejected"]) == (count, len(invalid), len(rejected))
    assert numbers(emulator) == [position for position in range(1, count + 1) if position not in refused]
    expected_codes = {"required_field": len(invalid), "user_not_found": len(rejected)}
    assert report["codes"] == {code: number for code, number in expected_codes.items() if number}
    if not refused:
        assert report["rejected_uri"] is None
        return
    lines = lines_of(report["rejected_uri"])
    assert sorted(line["refusal"]["position"] for line in lines) == sorted(refused)
    sent = [position for position in range(1, count + 1) if position not in set(invalid)]
    for line in lines:
        assert set(line) == {"event", "refusal"}
        refusal, event = line["refusal"], line["event"]
        position = refusal["position"]
        assert event["properties"]["number"] == position
        assert event["user"] == {"uid": f"u{position}"}
        assert refusal["import"]
        if position in set(invalid):
            assert (refusal["outcome"], refusal["code"]) == ("invalid", "required_field")
            assert "name is missing" in refusal["message"]
            assert set(refusal) == {"outcome", "code", "message", "position", "import"}
        else:
            batch = sent.index(position) // batch_size + 1
            assert set(refusal) == {"outcome", "code", "message", "position", "job_id", "batch", "import"}
            assert (refusal["outcome"], refusal["code"]) == ("rejected", "user_not_found")
            assert (refusal["job_id"], refusal["batch"]) == (report["job_ids"][batch - 1], str(batch))


COUNT = 35
PLACES: dict[str, tuple[set[int], set[int]]] = {
    "none": (set(), set()),
    "first": (set(), {1}),
    "first here": ({1}, set()),
    "last": (set(), {COUNT}),
    "last here": ({COUNT}, set()),
    "a whole batch": (set(), set(range(11, 21))),
    "a whole batch's worth here": (set(range(11, 21)), set()),
    "all": (set(), set(range(1, COUNT + 1))),
    "all here": (set(range(1, COUNT + 1)), set()),
    "all, some here and some there": (set(range(1, COUNT + 1, 2)), set(range(2, COUNT + 1, 2))),
    "borders of batches": (set(), {1, 10, 11, 20, 21, 30, 31, 35}),
    "here and there in turn": ({2, 3, 9, 10, 12, 34}, {1, 4, 8, 11, 13, 33, 35}),
}


@WAYS
@pytest.mark.parametrize("place", PLACES)
def test_each_refused_record_has_a_line_with_its_place(
    *, emulator: EmulatorClient, context: Any, uri: str, tmp_path: Path, import_in: Any, place: str
) -> None:
    invalid, rejected = PLACES[place]
    report = import_in(context, events=source(COUNT, invalid, rejected), batch_size=10, rejected_uri=uri)
    check_file(report, emulator, COUNT, invalid, rejected)
    assert files_below(f"file://{tmp_path}/refused") == (["file.ndjson"] if invalid or rejected else [])
    assert not Path(f"{tmp_path}/refused/file.ndjson.sent").exists()


@WAYS
@pytest.mark.parametrize("name", ["a/b.ndjson", "b.ndjson.gz", "a/folder/", "ä b[1]*?%20.ndjson"])
@pytest.mark.parametrize("storage", ["file", "memory"])
def test_the_file_is_wherever_it_is_wanted(
    *,
    emulator: EmulatorClient,
    context: Any,
    tmp_path: Path,
    memory: str,
    import_in: Any,
    name: str,
    storage: str,
) -> None:
    root = f"file://{tmp_path}/root" if storage == "file" else memory
    invalid, rejected = PLACES["here and there in turn"]
    report = import_in(
        context, events=source(COUNT, invalid, rejected), batch_size=10, rejected_uri=f"{root}/{name}"
    )
    check_file(report, emulator, COUNT, invalid, rejected)
    assert report["rejected_uri"].startswith(f"{root}/{name}")
    assert len(files_below(root)) == 1
    assert not report["rejected_uri"].endswith("/")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".sent", ".partial"))]
    # What is read is what was written.
    again = run(importing(task_id="again", events=report["rejected_uri"]), context)
    assert (again["records"], again["invalid"]) == (len(invalid) + len(rejected), len(invalid))


def test_a_path_may_be_a_path(emulator: EmulatorClient, context: Any, tmp_path: Path) -> None:
    report = in_the_task(context, events=source(3, {2}, {3}), rejected_uri=tmp_path / "refused.ndjson")
    check_file(report, emulator, 3, {2}, {3})


@WAYS
@pytest.mark.parametrize("page_size", [1, 2, 5, 6, 7, 8, 9, 100])
@pytest.mark.parametrize("habit", ["plain", "omit_total_records", "repeat_last_page_token"])
def test_pages_end_anywhere(
    *, emulator: EmulatorClient, context: Any, uri: str, import_in: Any, page_size: int, habit: str
) -> None:
    emulator.configure(page_size=page_size, **({} if habit == "plain" else {habit: True}))
    rejected = {1, 2, 5, 6, 9, 10, *range(13, 21)}  # 6 in the first job, 8 in the second.
    report = import_in(context, events=source(25, {11}, rejected), batch_size=10, rejected_uri=uri)
    check_file(report, emulator, 25, {11}, rejected)


@WAYS
def test_refusals_that_are_not_there_yet_are_waited_for(
    emulator: EmulatorClient, context: Any, uri: str, import_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "_RETRY_FOR", 60)
    emulator.order_fault(path="*/errors", status=202, times=3)
    emulator.configure(page_size=2)
    report = import_in(context, events=source(25, {3}, {1, 2, 4, 12}), batch_size=10, rejected_uri=uri)
    check_file(report, emulator, 25, {3}, {1, 2, 4, 12})


@WAYS
@pytest.mark.parametrize("missing", [{"code"}, {"message"}, {"code", "message"}])
def test_code_and_message_may_be_missing(
    emulator: EmulatorClient, context: Any, uri: str, import_in: Any, missing: set[str]
) -> None:
    emulator.forget_refusals()
    emulator.order_refusal("properties.number", [2], **dict.fromkeys(missing))
    report = import_in(context, events=source(3), rejected_uri=uri)
    [line] = lines_of(uri)
    assert line["refusal"]["position"] == 2
    for name in ("code", "message"):
        assert (line["refusal"][name] is None) == (name in missing)
    assert sum(report["codes"].values()) == 1


@WAYS
@pytest.mark.parametrize("limit", [250, 400, 1000])
def test_places_survive_a_batch_that_is_sent_in_halves(
    emulator: EmulatorClient, context: Any, uri: str, import_in: Any, limit: int
) -> None:
    emulator.configure(max_body_bytes=limit)
    invalid, rejected = {3, 17, 34}, {1, 2, 9, 10, 11, 18, 33, 35}
    report = import_in(context, events=source(COUNT, invalid, rejected), batch_size=20, rejected_uri=uri)
    assert report["batches"] > 2
    assert numbers(emulator) == [n for n in range(1, COUNT + 1) if n not in invalid | rejected]
    lines = lines_of(uri)
    assert sorted(line["refusal"]["position"] for line in lines) == sorted(invalid | rejected)
    for line in lines:
        assert line["event"]["properties"]["number"] == line["refusal"]["position"]
        if line["refusal"]["outcome"] == "rejected":
            assert "." in line["refusal"]["batch"]
            assert line["refusal"]["job_id"] in report["job_ids"]


@WAYS
@pytest.mark.parametrize("halves", [False, True])
def test_equal_records_each_have_their_own_place(
    emulator: EmulatorClient, context: Any, uri: str, import_in: Any, halves: bool
) -> None:
    if halves:
        emulator.configure(max_body_bytes=400)
    bad = {"name": "Order", "user.uid": "u", "only_fullstory_refuses": True}
    good = {"name": "Order", "user.uid": "u"}
    events = [bad, good, bad, {"user.uid": "u"}, bad, *[bad] * 5, good, bad, good, bad]
    report = import_in(context, events=events, batch_size=8, rejected_uri=uri)
    rejected = [position for position, event in enumerate(events, 1) if event is bad]
    positions = [
        line["refusal"]["position"] for line in lines_of(uri) if line["refusal"]["outcome"] == "rejected"
    ]
    assert sorted(positions) == rejected
    assert (report["invalid"], report["rejected"]) == (1, len(rejected))


BERLIN = datetime.timezone(datetime.timedelta(hours=2))
ODD_RECORDS: dict[str, dict[str, Any]] = {
    "decimals": {"price": Decimal("11.10"), "other": Decimal("0.100")},
    "a huge float": {"x": 1e22},
    "a tiny float": {"x": 1.5e-7},
    "a decimal with an exponent": {"x": Decimal("1E+3")},
    "a decimal beside a huge float": {"price": Decimal("11.10"), "x": 1e22},
    "a decimal beside a tiny float": {"price": Decimal("11.10"), "x": 1.5e-7},
    "a long decimal": {"x": Decimal("123456789012345678901234567890.123456789")},
    "a float that is whole": {"x": 5.0},
    "minus zero": {"x": -0.0},
    "the largest integer": {"x": 2**63 - 1, "y": -(2**63)},
    "dates": {"x": datetime.date(2026, 1, 2), "y": [datetime.date(2026, 1, 2)]},
    "moments": {
        "timestamp": datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=BERLIN),
        "x": datetime.datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=BERLIN),
    },
    "text as timestamp": {"timestamp": "2026-01-02T03:04:05,678+02:00"},
    "spans": {"x": datetime.timedelta(seconds=1.5), "y": datetime.time(1, 2, 3)},
    "objects": {"x": {"b": {"c": 1, "a": [1, None, 2]}, "a": Decimal("1.50"), "d.e": "f"}},
    "empty objects": {"x": {}, "y": [], "z": ""},
    "nulls": {"x": None, "y": {"z": None}, "w": [None]},
    "unicode": {"x": 'ä\u2028\U0001f600\u0000"\\/</script>', "y": {"k": "\ufffe"}},
    "dotted keys": {"properties.a.b": 1, "properties.a.c": "x", "page_properties.p": 5},
    "context": {
        "context": {"browser": {"url": "https://x/ä"}, "location": {"latitude": 1e-7, "longitude": -0.5}}
    },
    "own schema": {"schema": {"properties": {"x": "real", "z": "date"}}, "x": 5, "z": "2026-01-01"},
    "mixed array": {"x": [1, 2.5, Decimal("3.10")]},
    "array of ints": {"x": [1, 2], "y": (True, False)},
}


@pytest.mark.parametrize("odd", ODD_RECORDS)
def test_places_of_odd_records_are_found(emulator: EmulatorClient, context: Any, uri: str, odd: str) -> None:
    marked = {"name": "Odd", "user.uid": "u", "only_fullstory_refuses": True, **ODD_RECORDS[odd]}
    events = [record(1), {"user.uid": "u"}, record(3), marked, record(5)]
    report = in_the_task(context, events=events, rejected_uri=uri)
    assert report["rejected"] == 1
    [_, line] = lines_of(uri)
    assert (line["refusal"]["outcome"], line["refusal"]["position"]) == ("rejected", 4)


@pytest.mark.parametrize(
    ("shared", "own"),
    [
        ({"user": {"uid": "shared"}}, {}),
        ({"user": {"uid": "shared"}}, {"session.use_most_recent": True}),
        ({"session": {"id": "a:b"}}, {}),
        ({"session": {"use_most_recent": True}}, {"user.uid": "own"}),
        ({"context": {"browser": {"url": "https://x"}}}, {"user.uid": "own"}),
        ({"page_properties": {"p": 1}}, {"user.uid": "own"}),
    ],
)
def test_what_is_shared_is_in_the_line_and_arrives(
    emulator: EmulatorClient, context: Any, uri: str, shared: dict[str, Any], own: dict[str, Any]
) -> None:
    emulator.order_refusal("properties.number", [3], code="not_now", message="not now")
    events = [{"name": "A", "number": number, **own} for number in range(1, 5)]
    del events[1]["name"]
    report = in_the_task(context, events=events, shared=shared, rejected_uri=uri)
    lines = {line["refusal"]["position"]: line for line in lines_of(uri)}
    assert set(lines) == {2, 3}
    for line in lines.values():
        assert shared.items() <= line["event"].items() or "page_properties" in shared
    emulator.forget_refusals()
    mend(uri, {2: lambda event: event | {"name": "A"}})
    report = in_the_task({**context, "again": True}, events=uri, idempotency_salt="again")
    assert (report["records"], report["imported"]) == (2, 2)
    arrived = {
        event["event"]["properties"]["number"]: {**event.get("shared", {}), **event["event"]}
        for event in emulator.events()
    }
    assert set(arrived) == {1, 2, 3, 4}
    for number in (2, 3):
        expected = arrived[1] | {"properties": {"number": number}}
        assert arrived[number] == expected


def mend(uri: str, changes: dict[int, Callable[[Any], Any]]) -> None:
    """Mend records in the file, by their places."""
    lines = lines_of(uri)
    for line in lines:
        change = changes.get(line["refusal"]["position"])
        if change is not None:
            line["event"] = change(line["event"])
    write(uri, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


# -- Keys below Architect ---------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("level", ["standard", "architect", "admin"])
def test_the_level_of_the_key_decides_what_is_known(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    tmp_path: Path,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
    import_in: Any,
    level: str,
) -> None:
    key = getattr(emulator, f"{level}_key")
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(key))
    invalid, rejected = {2, 21}, {1, 12, 25}
    with caplog.at_level(logging.INFO):
        report = import_in(context, events=source(25, invalid, rejected), batch_size=10, rejected_uri=uri)
    if level != "standard":
        check_file(report, emulator, 25, invalid, rejected)
        return
    counts = [report[name] for name in ("records", "imported", "invalid", "rejected")]
    assert counts == [25, 20, 2, 3]
    assert report["codes"] == {"required_field": 2}
    assert [line["refusal"]["position"] for line in lines_of(uri)] == [2, 21]
    assert {line["refusal"]["outcome"] for line in lines_of(uri)} == {"invalid"}
    assert "Architect" in caplog.text
    assert files_below(f"file://{tmp_path}/refused") == ["file.ndjson"]


@WAYS
def test_a_standard_key_leaves_no_file_of_nothing(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    import_in: Any,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    report = import_in(context, events=source(5, (), {2}), rejected_uri=uri)
    assert (report["rejected"], report["rejected_uri"]) == (1, None)
    assert files_below(f"file://{tmp_path}/refused") == []


# -- The log ----------------------------------------------------------------------------------------------


def logged(caplog: Any, capfd: Any) -> str:
    output = capfd.readouterr()
    return f"{caplog.text}\n{output.out}\n{output.err}"


SECRETS = {
    "text": "secret-note",
    "unicode": "geheim-ä-\u2028-x",
    "quoted": 'se"cret\\note',
    "number": 987654321,
    "decimal": Decimal("98765.4320"),
    "float": 9.87654e22,
    "inner": {"deep": ["secret-inner-1", "secret-inner-2"]},
    "date": datetime.date(2031, 12, 13),
    "moment": datetime.datetime(2031, 12, 13, 14, 15, 16, tzinfo=datetime.UTC),
}


def spellings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in spellings(item)]
    if isinstance(value, list):
        return [text for item in value for text in spellings(item)]
    if isinstance(value, float):
        return [str(value), "9.87654e22", "9.87654E+22"]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return [value.isoformat(), "2031-12-13"]
    return [str(value), json.dumps(str(value))[1:-1]]


@WAYS
@pytest.mark.parametrize("has_file", [False, True])
def test_no_value_is_in_the_log(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    caplog: Any,
    capfd: Any,
    import_in: Any,
    has_file: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    base = {"user.uid": "secret-uid", **SECRETS}
    events = [
        {"name": "Secretname", **base, "only_fullstory_refuses": True},
        {"name": "Secretname", **base, "bad": math.nan},
        base,
        {"name": "Secretname", **base, "user.id": "secret-id"},
        {"name": "Secretname", **base, "timestamp": "secret-time"},
        "secret-record",
        ["secret-list"],
        {"name": "Secretname", **base, "only_fullstory_refuses": True},
    ]
    report = import_in(context, events=iter(events), **({"rejected_uri": uri} if has_file else {}))
    assert (report["invalid"], report["rejected"]) == (6, 2)
    seen = logged(caplog, capfd)
    for text in ["secret", "Secretname", *(text for value in SECRETS.values() for text in spellings(value))]:
        assert text not in seen


MESSAGES = {
    "text": "the note secret-note is bad",
    "quoted text": "the note 'secret-note' is bad",
    "decimal digit by digit": "the price 98765.4320 is bad",
    "decimal as a float": "the price 98765.432 is bad",
    "float": "the float 9.87654e22 is bad",
    "float as Python has it": "the float 9.87654e+22 is bad",
    "JSON of text": r"the text se\"cret\\note is bad",
    "name": "the event Secretname is unknown",
    "date": "the date 2031-12-13 is too late",
    "shared": "the page https://secret-page is unknown",
}


#: What FullStory may make of a value before it repeats it.
CHANGED = {
    "text within a word": "no such thing: xsecret-notex",
    "beginning of a text": "the note secret-no... is too long",
    "text in capitals": "no such note: SECRET-NOTE",
}


@pytest.mark.parametrize("message", [*MESSAGES, *CHANGED])
def test_a_value_that_fullstory_repeats_is_not_in_the_log(
    emulator: EmulatorClient, context: Any, caplog: Any, capfd: Any, message: str
) -> None:
    caplog.set_level(logging.INFO)
    emulator.forget_refusals()
    emulator.order_refusal("properties.only_fullstory_refuses", message=(MESSAGES | CHANGED)[message])
    event = {"name": "Secretname", "user.uid": "u", "only_fullstory_refuses": True, **SECRETS}
    shared = {"context": {"browser": {"url": "https://secret-page"}}}
    report = in_the_task(context, events=[event], shared=shared)
    assert report["rejected"] == 1
    seen = logged(caplog, capfd)
    assert "Rejected by FullStory" in seen
    for text in ("secret", "SECRET", "Secret", "98765", "9.87654", "2031-12-13", "cret"):
        assert text not in seen


@WAYS
def test_five_of_each_kind_are_shown_and_all_are_counted(
    emulator: EmulatorClient, context: Any, caplog: Any, capfd: Any, import_in: Any
) -> None:
    caplog.set_level(logging.INFO)
    emulator.configure(page_size=3)
    invalid, rejected = set(range(2, 26, 3)), set(range(1, 25, 3))
    report = import_in(context, events=source(25, invalid, rejected), batch_size=10)
    assert report["codes"] == {"required_field": 8, "user_not_found": 8}
    seen = logged(caplog, capfd)
    lines = caplog.text.splitlines()
    assert sum("Not sent: record" in line for line in lines) == 5
    assert sum("Rejected by FullStory: a record" in line for line in lines) == 5
    for code in ("required_field", "user_not_found"):
        assert re.search(rf"code +8  {code}", logged(caplog, capfd) + seen)


@WAYS
def test_values_are_shown_where_they_are_asked_for(
    emulator: EmulatorClient, context: Any, caplog: Any, import_in: Any
) -> None:
    caplog.set_level(logging.INFO)
    import_in(context, events=source(3, {1}, {2}), log_values=True)
    assert '"uid":"u1"' in caplog.text
    assert '"uid":"u2"' in caplog.text


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"record_key": "number"}, "number"),
        ({"record_key": ["number"]}, "number"),
        ({"record_key": "Number", "mapping": {"properties.nr": "NUMBER"}}, "Number"),
        ({"record_key": "NUMBER"}, "NUMBER"),
        ({"record_key": "User.UID"}, "User.UID"),
    ],
)
@pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer])
def test_key_columns_name_the_record(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    caplog: Any,
    database: Path,
    import_in: Any,
    arguments: dict[str, Any],
    name: str,
) -> None:
    """Columns are found without case everywhere, since databases fold their names."""
    caplog.set_level(logging.INFO)
    make_warehouse(database, 3, start=71)
    emulator.order_refusal("properties.number", [72], code="user_not_found")
    emulator.order_refusal("properties.nr", [72], code="user_not_found")
    sql = """SELECT number, 'u' || number AS "user.uid", CASE number WHEN 71 THEN NULL ELSE 'Order' END
    AS name FROM orders ORDER BY number"""
    report = import_in(context, sql=sql, sql_conn_id="warehouse", rejected_uri=uri, **arguments)
    assert (report["invalid"], report["rejected"]) == (1, 1)
    values = ["u71", "u72"] if name == "User.UID" else [71, 72]
    assert [line["refusal"]["key"] for line in lines_of(uri)] == [{name: value} for value in values]
    assert f"Not sent: record 1 ({name}={values[0]!r})" in caplog.text


def test_key_columns_name_the_record_in_the_log_too(
    emulator: EmulatorClient, context: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    emulator.order_refusal("properties.number", [2])
    in_the_task(context, events=source(3, {1}), record_key=["number", "user.uid"])
    assert "Not sent: record 1 (number=1, user.uid='u1')" in caplog.text
    assert "(number=2, user.uid='u2')" in caplog.text


# -- Sent again -------------------------------------------------------------------------------------------

NAIVE = datetime.datetime(2026, 7, 1, 12, 0, 0)  # noqa: DTZ001 - That is the point.
BEGINNING = datetime.datetime(1, 1, 1)  # noqa: DTZ001


@dataclasses.dataclass
class Opaque:
    x: int = 1


UNMENDED: dict[str, Any] = {
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
@pytest.mark.parametrize("case", UNMENDED)
def test_what_is_not_mended_is_refused_again(
    *,
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    uri: str,
    tmp_path: Path,
    case: str,
    zone: str,
) -> None:
    fields = {"name": "Order", "user.uid": "u"} | UNMENDED[case]
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


@pytest.mark.parametrize("case", UNMENDED)
@pytest.mark.parametrize("log_values", [False, True])
def test_any_refused_record_can_be_logged(
    emulator: EmulatorClient, context: Any, caplog: Any, *, case: str, log_values: bool
) -> None:
    caplog.set_level(logging.INFO)
    fields = {"name": "Order", "user.uid": "u"} | UNMENDED[case]
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
def test_no_record_at_all_is_accepted_unmended(
    tmp_path_factory: pytest.TempPathFactory, found: list[Any], zone: str
) -> None:
    """Through the line of the file and back, without an emulator: there are too many ways to be wrong."""
    options = MappingOptions(zone=pendulum.timezone(zone))
    named = [item | {"name": "Odd"} if isinstance(item, dict) else item for item in found]
    chunks = events_of_records(named, options)
    refused = [refused for chunk in chunks for refused in chunk.invalid]
    nowhere = RefusedFile(None, "file", "import", "file")  # type: ignore[arg-type]
    lines = [nowhere.line(item.record, {}, Facts()) for item in refused]
    file = tmp_path_factory.mktemp("lines") / "file.ndjson"
    file.write_bytes(b"".join(lines))
    again = list(records_of(file))
    assert len(again) == len(refused)
    accepted = [
        (refused[position - 1], lines[position - 1])
        for chunk in events_of_records(again, MappingOptions())
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
def test_broken_lines_are_refused_again_until_they_are_mended(
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
    mend(uri, {2: lambda _: json.loads(good)})
    mended = in_the_task(make_context(run_id="3"), events=uri)
    assert (mended["records"], mended["imported"]) == (1, 1)


NO_RECORDS = [5, "text", None, 1.5, math.nan, b"bytes", datetime.date(2026, 1, 1), {1, 2}, "\ud800", Opaque()]


@pytest.mark.parametrize("value", NO_RECORDS, ids=repr)
def test_what_is_no_record_is_refused_again(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, value: Any
) -> None:
    first = in_the_task(make_context(), events=iter([record(1), value]), rejected_uri=uri)
    assert (first["invalid"], first["imported"]) == (1, 1)
    assert lines_of(uri)[0]["refusal"]["position"] == 2
    assert in_the_task(make_context(run_id="2"), events=uri)["invalid"] == 1


def _set(**values: Any) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, **values}

    return change


def _property(**values: Any) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "properties": {**event.get("properties", {}), **values}}

    return change


def _inner(**values: Any) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        properties = event["properties"]
        return {**event, "properties": {**properties, "o": {**properties["o"], **values}}}

    return change


def _renamed(old: str, new: str) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        # Wherever it stands: the types that are declared name it too.
        return {
            key.replace(old, new): change(value) if isinstance(value, dict) else value
            for key, value in event.items()
        }

    return change


def _without_marks(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if not key.startswith("$")}


MOMENT = datetime.datetime(2026, 7, 1, 12, 0, 0, 500, tzinfo=BERLIN)
#: What was wrong, how it is mended in the file, and what the record is without the mistake.
MENDED: dict[str, tuple[dict[str, Any], Callable[[Any], Any], dict[str, Any], dict[str, Any]]] = {
    "a name": ({"name": None}, _set(name="Order"), {}, {}),
    "an id": ({"user.uid": 5.0}, _set(user={"uid": "5"}), {"user.uid": "5"}, {}),
    "beside a naive moment": ({"name": None, "at": NAIVE}, _set(name="Order"), {"at": NAIVE}, {}),
    "beside a naive timestamp": (
        {"name": None, "timestamp": "2026-07-01T12:00:00"},
        _set(name="Order"),
        {"timestamp": "2026-07-01T12:00:00"},
        {},
    ),
    "beside decimals": (
        {"name": None, "a": Decimal("11.10")},
        _set(name="Order"),
        {"a": Decimal("11.10")},
        {},
    ),
    "beside odd floats": (
        {"name": None, "a": 1e22, "b": 1.5e-7, "c": 5.0},
        _set(name="Order"),
        {"a": 1e22, "b": 1.5e-7, "c": 5.0},
        {},
    ),
    "beside an object": (
        {"name": None, "o": {"d": datetime.date(2026, 1, 1), "n": 1, "t": MOMENT, "l": [1, 2]}},
        _set(name="Order"),
        {"o": {"d": datetime.date(2026, 1, 1), "n": 1, "t": MOMENT, "l": [1, 2]}},
        {},
    ),
    "a number in an object with a moment": (
        {"o": {"at": MOMENT, "n": math.nan}},
        _inner(n=5),
        {"o": {"at": MOMENT, "n": 5}},
        {},
    ),
    "a number in an object with a naive moment": (
        {"o": {"at": NAIVE, "n": math.nan}},
        _inner(n=5),
        {"o": {"at": NAIVE, "n": 5}},
        {},
    ),
    "a number in an object with a date": (
        {"o": {"on": datetime.date(2026, 1, 1), "n": math.nan}},
        _inner(n=5.5),
        {"o": {"on": datetime.date(2026, 1, 1), "n": 5.5}},
        {},
    ),
    "a number in an object with dates": (
        {"o": {"on": [datetime.date(2026, 1, 1)], "n": math.nan}},
        _inner(n=5.5),
        {"o": {"on": [datetime.date(2026, 1, 1)], "n": 5.5}},
        {},
    ),
    "a number in an object with decimals": (
        {"o": {"d": Decimal("11.10"), "n": math.nan}},
        _inner(n=5),
        {"o": {"d": Decimal("11.10"), "n": 5}},
        {},
    ),
    "a property declared real": (
        {"amount": math.nan},
        _property(amount=5),
        {"amount": 5},
        {"schema": {"amount": "real"}},
    ),
    "a property declared date": (
        {"on": b"2026-01-01"},
        _property(on="2026-01-01"),
        {"on": "2026-01-01"},
        {"schema": {"on": "date"}},
    ),
    "a property declared text": (
        {"on": "x", "name": None},
        _set(name="Order"),
        {"on": "x"},
        {"schema": {"on": "str"}},
    ),
    "a property not as declared": (
        {"amount": "many"},
        _property(amount=5),
        {"amount": 5},
        {"schema": {"amount": "real"}},
    ),
    "the name of a property": ({"order id": 5}, _renamed("order id", "order_id"), {"order_id": 5}, {}),
    "the name of a property that is a float": (
        {"order total": 5.5},
        _renamed("order total", "order_total"),
        {"order_total": 5.5},
        {},
    ),
    "the name of a property that is a decimal": (
        {"order total": Decimal("5.50")},
        _renamed("order total", "order_total"),
        {"order_total": Decimal("5.50")},
        {},
    ),
    "the name of a property that is a moment": (
        {"ordered at": MOMENT},
        _renamed("ordered at", "ordered_at"),
        {"ordered_at": MOMENT},
        {},
    ),
    "the name of a property that is a date": (
        {"ordered on": datetime.date(2026, 1, 1)},
        _renamed("ordered on", "ordered_on"),
        {"ordered_on": datetime.date(2026, 1, 1)},
        {},
    ),
    "the name of a property with its parent": (
        {"properties.ordered at": MOMENT},
        _renamed("ordered at", "ordered_at"),
        {"ordered_at": MOMENT},
        {},
    ),
    "what was no properties": ({"properties": "oops", "x": 1}, _without_marks, {"x": 1}, {}),
    "what was no user": ({"user": "bob"}, _without_marks, {}, {}),
}


@pytest.mark.parametrize("case", MENDED)
def test_what_is_mended_arrives_as_it_would_have(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, case: str
) -> None:
    wrong, change, right, arguments = MENDED[case]
    base = {"name": "Order", "user.uid": "u"}
    first = in_the_task(
        make_context(), events=[base | wrong], timezone="Europe/Berlin", rejected_uri=uri, **arguments
    )
    assert first["invalid"] == 1
    mend_text(uri, change)
    assert in_the_task(make_context(run_id="2"), events=uri)["imported"] == 1
    direct = in_the_task(
        make_context(run_id="3"), events=[base | right], timezone="Europe/Berlin", **arguments
    )
    assert direct["imported"] == 1
    again, expected = (event["event"] for event in emulator.events())
    assert again == expected
    mended, sent = posts(emulator)
    assert mended["body_bytes"] == sent["body_bytes"]
    assert mended["body_sha256"] == sent["body_sha256"]


#: Reads JSON such that numbers are written again as they stand there.
AS_IT_STANDS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    float_hook=lambda text: msgspec.Raw(text.encode())
)


def mend_text(uri: str, change: Callable[[Any], Any]) -> None:
    """Mend the one record of a file as a person with an editor would: all else stays as it is."""
    [text] = content_of(uri).splitlines()
    line = AS_IT_STANDS.decode(text)
    line["event"] = change(line["event"])
    write(uri, msgspec.json.encode(line) + b"\n")


@WAYS
def test_full_circle(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path, import_in: Any
) -> None:
    emulator.order_refusal("properties.number", [4, 12, 20], code="not_now", message="not now")
    events: list[dict[str, Any]] = [
        {"title": "Order", "number": n, "price": Decimal("11.10") + n, "at": "2026-07-01T12:00:00"}
        for n in range(1, 26)
    ]
    events[1]["title"] = None
    events[6]["price"] = math.nan
    events[24]["price"] = b"?"
    arguments = {
        "mapping": {"name": "title", "timestamp": "at"},
        "timezone": "Europe/Berlin",
        "shared": {"user": {"uid": "shop"}, "context": {"browser": {"url": "https://shop"}}},
        "schema": {"number": "real"},
        "record_key": "number",
        "batch_size": 10,
    }
    report = import_in(make_context(), events=events, rejected_uri=uri, **arguments)
    assert (report["invalid"], report["rejected"], report["imported"]) == (3, 3, 19)
    keys = {line["refusal"]["position"]: line["refusal"]["key"] for line in lines_of(uri)}
    assert keys == {position: {"number": position} for position in (2, 4, 7, 12, 20, 25)}

    emulator.forget_refusals()
    mend(uri, {2: _set(name="Order"), 7: _property(price=18.5)})
    second = f"file://{tmp_path}/second.ndjson"
    report = import_in(make_context(run_id="2"), events=uri, rejected_uri=second)
    assert (report["records"], report["invalid"], report["imported"]) == (6, 1, 5)
    [line] = lines_of(second)
    assert (line["event"]["properties"]["number"], line["refusal"]["outcome"]) == (25, "invalid")

    mend(second, {line["refusal"]["position"]: _property(price=36.25)})
    report = import_in(make_context(run_id="3"), events=second)
    assert (report["imported"], report["rejected_uri"]) == (1, None)
    arrived = {
        event["event"]["properties"]["number"]: {**event.get("shared", {}), **event["event"]}
        for event in emulator.events()
    }
    assert numbers(emulator) == list(range(1, 26))
    for number, event in arrived.items():
        assert event == arrived[1] | {"properties": event["properties"]}
        assert event["timestamp"] == "2026-07-01T10:00:00Z"
        assert event["schema"] == {"properties": {"number": "real"}}
        assert number in {7, 25} or event["properties"]["price"] == pytest.approx(11.1 + number)


# -- Whose file it is -------------------------------------------------------------------------------------


def seen_posts(emulator: EmulatorClient) -> int:
    return len(posts(emulator))


FOREIGN = {
    "text": b"hello\n",
    "one line without an end": b'{"a": 1}',
    "a blank line": b"\n",
    "events": b'{"name": "A", "user": {"uid": "u"}}\n',
    "refused records of nobody": b'{"event": {}, "refusal": {"outcome": "invalid"}}\n',
    "a list": b"[1, 2]\n",
    "bytes": bytes(range(256)),
    "too large a number": b'{"x": 1e99999999999999999999}\n',
    "nested too deep": b"[" * 5000 + b"]" * 5000,
}


@pytest.mark.parametrize("name", ["file.ndjson", "file.ndjson.gz"])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_file_of_something_else_is_never_written_over(
    emulator: EmulatorClient, context: Any, tmp_path: Path, foreign: str, name: str
) -> None:
    uri = f"file://{tmp_path}/{name}"
    write(uri, FOREIGN[foreign])
    with pytest.raises(AirflowFailException, match=r"rejected_uri is .* it would be lost. Nothing was sent"):
        in_the_task(context, events=source(3, {1}, {2}), rejected_uri=uri)
    assert content_of(uri) == FOREIGN[foreign]
    assert seen_posts(emulator) == 0


def test_what_is_no_gzip_file_is_never_written_over(
    emulator: EmulatorClient, context: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file.ndjson.gz"
    damaged = bytearray(gzip.compress(b'{"a": 1}\n' * 1000))
    damaged[20:30] = b"0123456789"
    for content in (b"hello\n", bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(Exception, match=r"rejected_uri|could not be read"):
            in_the_task(context, events=source(3, {1}, {2}), rejected_uri=f"file://{path}")
        assert path.read_bytes() == content
    assert seen_posts(emulator) == 0


@WAYS
@pytest.mark.parametrize("other", [{"run_id": "run-2"}, {"map_index": 3}])
def test_the_file_of_another_import_is_never_written_over(
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    uri: str,
    import_in: Any,
    other: dict[str, Any],
) -> None:
    import_in(make_context(), events=source(3, {1}, {2}), rejected_uri=uri)
    before, sent = content_of(uri), seen_posts(emulator)
    for events in (source(3, {2}, {3}), source(3)):
        with pytest.raises(AirflowFailException, match="holds the refused records of dag/run-1/task/-1"):
            import_in(make_context(**other), events=events, rejected_uri=uri)
    assert content_of(uri) == before
    assert seen_posts(emulator) == sent


@WAYS
def test_importing_a_file_into_itself_is_refused(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, import_in: Any
) -> None:
    import_in(make_context(), events=source(3, {1}, {2}), rejected_uri=uri)
    before, sent = content_of(uri), seen_posts(emulator)
    with pytest.raises(AirflowFailException, match="it would be lost"):
        import_in(make_context(run_id="2"), events=uri, rejected_uri=uri)
    assert content_of(uri) == before
    assert seen_posts(emulator) == sent


@pytest.mark.parametrize("value", ["", "carrier-pigeon://loft/file", 5])
def test_what_is_no_place_for_a_file_is_refused_before_anything_is_sent(
    emulator: EmulatorClient, context: Any, value: Any
) -> None:
    with pytest.raises(AirflowFailException, match="rejected_uri"):
        in_the_task(context, events=source(3, {1}), rejected_uri=value)
    assert seen_posts(emulator) == 0


def test_a_folder_in_the_place_of_the_file_is_told_before_anything_is_sent(
    emulator: EmulatorClient, context: Any, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="rejected_uri"):
        in_the_task(context, events=source(3, {1}), rejected_uri=f"file://{tmp_path}")
    assert seen_posts(emulator) == 0


def test_in_a_folder_all_have_their_own(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    identities = [{}, {"run_id": "run-2"}, {"map_index": 0}, {"map_index": 1}, {"run_id": "run/2"}]
    uris = []
    for index, identity in enumerate(identities, 1):
        report = in_the_task(
            make_context(**identity),
            events=source(index + 1, {1}, {2}),
            rejected_uri=f"file://{tmp_path}/all/",
        )
        uris.append(report["rejected_uri"])
    assert len(set(uris)) == len(identities)
    assert all(len(lines_of(uri)) == 2 for uri in uris)
    assert len(files_below(f"file://{tmp_path}/all")) == len(identities)


@WAYS
def test_the_same_run_writes_over_its_own(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path, import_in: Any
) -> None:
    import_in(make_context(), events=source(5, {1}, {2}), rejected_uri=uri)
    emulator.reset()
    emulator.order_refusal("properties.only_fullstory_refuses", code="user_not_found")
    report = import_in(make_context(), events=source(25, {3, 4}, {5, 25}), batch_size=10, rejected_uri=uri)
    check_file(report, emulator, 25, {3, 4}, {5, 25})
    # What is fine now leaves no file.
    for invalid, rejected in (((), {5}), ({6}, ()), ((), ())):
        emulator.reset()
        emulator.order_refusal("properties.only_fullstory_refuses", code="user_not_found")
        report = import_in(make_context(), events=source(7, invalid, rejected), rejected_uri=uri)
        check_file(report, emulator, 7, invalid, rejected)
    assert files_below(f"file://{tmp_path}/refused") == []


# -- The sensor again -------------------------------------------------------------------------------------


def sensor_of(report: dict[str, Any], **arguments: Any) -> FullStoryImportJobSensor:
    given = {"task_id": "wait", "job_ids": report, "poke_interval": 0.01, "max_rejected": MANY, **arguments}
    return FullStoryImportJobSensor(**given)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_that_is_cleared_loses_nothing(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, deferrable: bool
) -> None:
    """It failed since too many were refused; somebody allows more and clears it."""
    submitted = run(
        importing(events=source(15, {1, 2}, {3, 12}), wait_for_completion=False, rejected_uri=uri),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"
    with pytest.raises(AirflowFailException):
        run(sensor_of(submitted, max_rejected=1, deferrable=deferrable), context)
    before = content_of(uri)
    assert len(before.splitlines()) == 4
    report = run(sensor_of(submitted, deferrable=deferrable), context)
    assert report["rejected_uri"] == uri
    assert content_of(uri) == before


def test_a_sensor_of_another_task_has_the_places(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    submitted = run(
        importing(
            events=source(15, {1, 2}, {3, 12}), wait_for_completion=False, rejected_uri=uri, batch_size=5
        ),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"
    report = run(sensor_of(submitted), context)
    check_file(report, emulator, 15, {1, 2}, {3, 12}, batch_size=5)


@pytest.mark.parametrize(("invalid", "rejected"), [({1}, {3}), ({1}, set()), (set(), {3})])
def test_a_sensor_with_a_file_of_its_own(
    *,
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    uri: str,
    tmp_path: Path,
    invalid: set[int],
    rejected: set[int],
) -> None:
    submitted = run(
        importing(events=source(5, invalid, rejected), wait_for_completion=False, rejected_uri=uri),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"
    own = f"file://{tmp_path}/own/own.ndjson"
    report = run(sensor_of(submitted, rejected_uri=own), context)
    found = [
        line["refusal"]["position"]
        for place in (own, uri)
        if ObjectStoragePath(place).exists()
        for line in lines_of(place)
    ]
    assert sorted(found, key=str) == sorted(invalid | rejected)
    assert report["rejected_uri"] is None or ObjectStoragePath(report["rejected_uri"]).exists()
    assert not any(path.name.endswith(".sent") for path in tmp_path.rglob("*"))


def test_a_sensor_for_jobs_by_id_writes_what_fullstory_tells(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    submitted = run(importing(events=source(15, (), {3, 12}), wait_for_completion=False), make_context())
    for _ in range(2):
        report = run(sensor_of(submitted["job_ids"], rejected_uri=uri), make_context())
        lines = lines_of(uri)
        assert [line["event"]["properties"]["number"] for line in lines] == [3, 12]
        assert [line["refusal"]["position"] for line in lines] == [None, None]
        assert (report["records"], report["rejected_uri"]) == (15, uri)


@pytest.mark.parametrize("rejected", [{5, 13}, {5}, set()])
def test_a_sensor_for_other_jobs_has_their_records_in_the_file(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, rejected: set[int]
) -> None:
    """Whatever made the jobs was cleared, and so is the sensor."""
    for expected in ({3, 12}, rejected):
        submitted = run(
            importing(
                events=source(15, (), expected), wait_for_completion=False, idempotency_salt=str(expected)
            ),
            make_context(),
        )
        context = make_context()
        context["ti"].task_id = "wait"
        report = run(sensor_of(submitted["job_ids"], rejected_uri=uri), context)
        assert report["rejected"] == len(expected)
        if expected:
            assert {line["event"]["properties"]["number"] for line in lines_of(uri)} == expected
        else:
            assert report["rejected_uri"] is None


@pytest.mark.parametrize("has_file", [False, True])
def test_a_sensor_for_an_import_that_was_waited_for_counts_once(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, *, has_file: bool
) -> None:
    where = {"rejected_uri": uri} if has_file else {}
    finished = in_the_task(make_context(), events=source(15, {1, 2}, {3, 12}), **where)
    before = content_of(uri) if has_file else b""
    context = make_context()
    context["ti"].task_id = "wait"
    assert run(sensor_of(finished), context) == finished
    assert before == (content_of(uri) if has_file else b"")


def test_a_sensor_whose_import_was_cleared_meanwhile_says_so(
    emulator: EmulatorClient, make_context: Callable[..., Any]
) -> None:
    """Airflow renders the sensor's arguments again once it comes back from the triggerer."""
    first, second = (
        run(importing(events=source(3), wait_for_completion=False, idempotency_salt=salt), make_context())
        for salt in "ab"
    )
    sensor = sensor_of(first, deferrable=True)
    with patch.object(FullStoryImportJobSensor, "_look"), pytest.raises(TaskDeferred) as deferral:
        sensor.execute(make_context())
    event = asyncio.run(anext(deferral.value.trigger.run())).payload
    sensor.job_ids = second
    try:
        report = sensor.execute_complete(make_context(), event)
    except (FullStoryError, AirflowFailException) as error:
        assert str(error)  # noqa: PT017 - Either outcome is right.
    else:
        assert report["job_ids"] in (first["job_ids"], second["job_ids"])


def test_a_sensor_that_died_while_it_tidied_up_loses_no_place(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path
) -> None:
    submitted = run(
        importing(events=source(15, {1}, {3, 12}), wait_for_completion=False, rejected_uri=uri, batch_size=5),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"

    def remove_half(folder: Folder, name: str = "") -> None:
        (tmp_path / "refused" / name / "00000003.msgpack").unlink()
        raise Crash

    with patch.object(Folder, "remove", remove_half), pytest.raises(Crash):
        run(sensor_of(submitted), context)
    before = content_of(uri)
    run(sensor_of(submitted), context)
    assert content_of(uri) == before
    assert files_below(f"file://{tmp_path}/refused") == ["file.ndjson"]


def test_a_sensor_for_mapped_imports_loses_no_refused_record(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    folder = f"file://{tmp_path}/all/"
    reports = [
        run(
            importing(events=source(5, {1}, {2}), wait_for_completion=False, rejected_uri=folder),
            make_context(map_index=index),
        )
        for index in range(3)
    ]
    context = make_context()
    context["ti"].task_id = "wait"
    report = run(sensor_of(reports), context)
    assert (report["invalid"], report["rejected"]) == (3, 3)
    lines = [
        line
        for path in ObjectStoragePath(folder).rglob("*.ndjson")
        if path.is_file()
        for line in lines_of(str(path))
    ]
    assert len(lines) == 6
    assert not any(path.name.endswith(".sent") for path in tmp_path.rglob("*"))


# -- Crashes ----------------------------------------------------------------------------------------------

CRASHED: Final = {"rejected_uri": None, "batch_size": 5, "max_parallel_uploads": 1, "max_rejected": MANY}


class NamedBreaking(Breaking):
    """Remembers at which write it broke."""

    name = ""

    def __call__(self, name: str, value: dict[str, Any], write: Callable[[], Any]) -> None:
        if not self.has_happened:
            self.name = name
        super().__call__(name, value, write)


def crashing_writes(breaking: Breaking) -> Any:
    """Let all that changes a folder break: writing and removing."""
    write_, remove = Folder.write, Folder.remove

    def broken_write(folder: Folder, name: str, content: Any) -> None:
        breaking(name, {}, lambda: write_(folder, name, content))

    def broken_remove(folder: Folder, name: str = "") -> None:
        breaking(f"-{name}", {}, lambda: remove(folder, name))

    return patch.multiple(Folder, write=broken_write, remove=broken_remove)


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kept", ["store", "folder", "both", "nothing"])
@pytest.mark.parametrize("from_query", [False, True])
def test_a_crash_anywhere_leaves_the_same_file_in_the_end(
    *,
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    database: Path,
    tmp_path: Path,
    kept: str,
    deferrable: bool,
    is_done: bool,
    from_query: bool,
) -> None:
    count, invalid, rejected = 18, {2, 9}, {1, 3, 11, 18}
    make_warehouse(database, count, start=1)
    change_warehouse(database, "ALTER TABLE orders ADD COLUMN name TEXT DEFAULT 'Order'")
    change_warehouse(database, "ALTER TABLE orders ADD COLUMN only_fullstory_refuses TEXT")
    change_warehouse(database, f"UPDATE orders SET name = NULL WHERE number IN {tuple(invalid)}")
    change_warehouse(
        database, f"UPDATE orders SET only_fullstory_refuses = 'x' WHERE number IN {tuple(rejected)}"
    )
    given: dict[str, Any] = {"events": source(count, invalid, rejected)}
    if from_query:
        given = {
            "sql": """SELECT number, name, only_fullstory_refuses, 'u' || number AS "user.uid" FROM orders
            ORDER BY number""",
            "sql_conn_id": "warehouse",
        }
    at, expected, bad = 1, None, {}
    while True:
        emulator.reset()
        emulator.order_refusal("properties.only_fullstory_refuses", code="user_not_found")
        uri = f"file://{tmp_path}/{at}/file.ndjson"
        task = make_task(kept, **(CRASHED | {"rejected_uri": uri, "deferrable": deferrable}), **given)
        if task.store is not None:
            task.store.texts.clear()
        breaking = NamedBreaking(at=at, is_done=is_done)
        try:
            with crashing_writes(breaking):
                task.attempt()
        except Crash:
            pass
        if breaking.has_happened:
            report = task.attempt()
        else:
            assert at > 5
        lines = sorted(map(without_job, lines_of(uri)), key=lambda line: str(line["refusal"]["position"]))
        expected = expected or lines
        if lines != expected:
            bad[at] = (breaking.name, [line["refusal"]["position"] for line in lines])
        elif breaking.has_happened:
            check_file(report, emulator, count, invalid, rejected, batch_size=5)
        if files_below(f"file://{tmp_path}/{at}") != ["file.ndjson"]:
            bad[at] = (breaking.name, files_below(f"file://{tmp_path}/{at}"))
        if not breaking.has_happened:
            break
        at += 1
    assert {line["refusal"]["position"] for line in expected or ()} == invalid | rejected
    assert not bad


def without_job(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "refusal": {name: item for name, item in line["refusal"].items() if name != "job_id"}}


@WAYS
def test_refusals_that_cannot_be_read_now_are_read_by_the_next_try(
    emulator: EmulatorClient, make_task: Callable[..., Task], uri: str, tmp_path: Path, import_in: Any
) -> None:
    if import_in is in_the_sensor:
        return
    emulator.configure(page_size=1)
    task = make_task(
        "store",
        events=source(25, {3}, {1, 2, 4, 12}),
        rejected_uri=uri,
        deferrable=import_in is in_the_triggerer,
        max_rejected=MANY,
    )
    emulator.order_fault(path="*/errors", after=2, status=404, times=1)
    with pytest.raises(Exception, match="A retry reads them again, and sends nothing"):
        task.attempt()
    assert [line["refusal"]["position"] for line in lines_of(uri)] == [3]
    sent = seen_posts(emulator)
    report = task.attempt()
    # The records are at hand, so that the batches are made again; none is sent again.
    assert seen_posts(emulator) == sent
    check_file(report, emulator, 25, {3}, {1, 2, 4, 12})
    assert files_below(f"file://{tmp_path}/refused") == ["file.ndjson"]
