"""The file of refused records: complete, with the right places, wherever it is wanted."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import run
from tests.refused_file import (
    BERLIN,
    COUNT,
    PLACES,
    WAYS,
    check_file,
    files_below,
    fix,
    importing,
    in_the_task,
    lines_of,
    record,
    source,
)
from tests.tries import numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("short_waits")


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
    emulator: EmulatorClient, context: Any, uri: str, import_in: Any, retry_for: Callable[[float], None]
) -> None:
    retry_for(60)
    emulator.order_fault(path="*/errors", status=202, times=3)
    emulator.configure(page_size=2)
    report = import_in(context, events=source(25, {3}, {1, 2, 4, 12}), batch_size=10, rejected_uri=uri)
    check_file(report, emulator, 25, {3}, {1, 2, 4, 12})


@WAYS
@pytest.mark.parametrize("missing", [{"code"}, {"message"}, {"code", "message"}])
def test_code_and_message_may_be_missing(
    emulator: EmulatorClient, context: Any, uri: str, import_in: Any, missing: set[str]
) -> None:
    emulator.forget_rejections()
    emulator.order_rejection("properties.number", [2], **dict.fromkeys(missing))
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
    emulator.order_rejection("properties.number", [3], code="not_now", message="not now")
    events = [{"name": "A", "number": number, **own} for number in range(1, 5)]
    del events[1]["name"]
    report = in_the_task(context, events=events, shared=shared, rejected_uri=uri)
    lines = {line["refusal"]["position"]: line for line in lines_of(uri)}
    assert set(lines) == {2, 3}
    for line in lines.values():
        assert shared.items() <= line["event"].items() or "page_properties" in shared
    emulator.forget_rejections()
    fix(uri, {2: lambda event: event | {"name": "A"}})
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
