"""Many refused records: all of them in the file, with little memory."""

from __future__ import annotations

import gzip
import json
import sqlite3
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.task.completion import Completion
from tests.accounting import check_accounted
from tests.conftest import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

MANY: Final = 10**6


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "max_rejected": MANY, **arguments}
    return FullStoryImportEventsOperator(**given)


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def make_orders(path: Path, count: int) -> None:
    """Write orders, of which every 20th has no name, and every 20th is one that FullStory refuses."""
    rows = (
        (n, None if n % 20 == 7 else "Order", f"note {n} {'x' * 50}", "big" if n % 20 == 13 else "small")
        for n in range(1, count + 1)
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, name TEXT, note TEXT, size TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)


ORDERS: Final = {
    "sql": """SELECT number, name, note, size, 'u' || number AS "user.uid" FROM orders ORDER BY number""",
    "sql_conn_id": "warehouse",
    "record_key": "number",
}


@pytest.mark.parametrize("name", ["refused.ndjson", "refused.ndjson.gz"])
def test_a_tenth_of_100_000_records_is_refused(
    emulator: EmulatorClient, context: Any, database: Path, tmp_path: Path, name: str
) -> None:
    count = 100_000 if name.endswith("ndjson") else 20_000
    make_orders(database, count)
    emulator.order_rejection("properties.size", ["big"], code="too_big", message="it is too big")
    emulator.configure(processing_seconds=0.2, page_size=1000)
    path = tmp_path / "refused" / name
    operator = importing(
        **ORDERS, batch_size=10_000, deferrable=True, rejected_uri=f"file://{path}", max_rejected=0.1
    )
    report = run(operator, context)
    check_accounted(report)
    here = [n for n in range(1, count + 1) if n % 20 == 7]
    there = [n for n in range(1, count + 1) if n % 20 == 13]
    assert report["records"] == count
    assert (report["invalid"], report["rejected"]) == (len(here), len(there))
    assert report["codes"] == {"required_field": len(here), "too_big": len(there)}
    assert report["batches"] == -(-(count - len(here)) // 10_000)

    found: dict[str, list[int]] = {"invalid": [], "rejected": []}
    sent_before: Final = {n: index for index, n in enumerate(n for n in range(1, count + 1) if n % 20 != 7)}
    for line in lines_of(path):
        refusal, event = line["refusal"], line["event"]
        position = refusal["position"]
        assert event["properties"]["number"] == position
        assert refusal["key"] == {"number": position}
        found[refusal["outcome"]].append(position)
        if refusal["outcome"] == "rejected":
            batch = sent_before[position] // 10_000 + 1
            assert (refusal["batch"], refusal["code"]) == (str(batch), "too_big")
            assert refusal["job_id"] == report["job_ids"][batch - 1]
    assert sorted(found["invalid"]) == here
    assert sorted(found["rejected"]) == there

    numbers = sorted(event["event"]["properties"]["number"] for event in emulator.iterate_events())
    assert numbers == [n for n in range(1, count + 1) if n % 20 not in {7, 13}]
    assert sorted(file.name for file in path.parent.rglob("*") if file.is_file()) == [name]


def test_one_more_than_a_tenth_fails_with_all_in_the_file(
    emulator: EmulatorClient, context: Any, database: Path, tmp_path: Path
) -> None:
    make_orders(database, 10_000)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE orders SET name = NULL WHERE number = 1")
    emulator.order_rejection("properties.size", ["big"], code="too_big")
    path = tmp_path / "refused.ndjson"
    with pytest.raises(AirflowFailException, match="1,001 of 10,000 records"):
        run(
            importing(
                **ORDERS, batch_size=3000, deferrable=True, rejected_uri=f"file://{path}", max_rejected=0.1
            ),
            context,
        )
    assert sum(1 for _ in lines_of(path)) == 1001


def refuse_a_whole_job(
    emulator: EmulatorClient, context: Any, path: Path | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], int]:
    """Import one job that FullStory refuses as a whole; return the report and the peak of its completion."""
    peaks: list[int] = []
    complete = Completion.complete

    def measured(*arguments: Any, **options: Any) -> None:
        tracemalloc.start()
        try:
            complete(*arguments, **options)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(Completion, "complete", measured)
    emulator.order_rejection("name", code="no", message="no" * 20)
    events = (
        {"name": "Order", "user.uid": f"u{n}", "number": n, "note": f"{n:>200}"} for n in range(1, count + 1)
    )
    where = {} if path is None else {"rejected_uri": f"file://{path}"}
    report = run(importing(events=events, **where), context)
    [peak] = peaks
    return report, peak


def test_one_job_with_50_000_rejected_records(emulator: EmulatorClient, context: Any, tmp_path: Path) -> None:
    path = tmp_path / "refused.ndjson"
    emulator.order_rejection("name", code="no")
    events = ({"name": "Order", "user.uid": f"u{n}", "number": n} for n in range(1, 50_001))
    report = run(importing(events=events, deferrable=True, rejected_uri=f"file://{path}"), context)
    check_accounted(report)
    assert (report["batches"], report["imported"], report["rejected"]) == (1, 0, 50_000)
    assert report["codes"] == {"no": 50_000}
    places = [(line["refusal"]["position"], line["event"]["properties"]["number"]) for line in lines_of(path)]
    assert places == [(n, n) for n in range(1, 50_001)]
    assert emulator.events() == []


@pytest.mark.parametrize("has_file", [False, True])
def test_refused_records_are_not_all_held_in_memory(
    emulator: EmulatorClient,
    make_context: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_file: bool,
) -> None:
    """What is held of a record is its fingerprint and place, some 200 bytes; a record has more than 1,000."""
    few, many = 1_000, 9_000
    peaks = []
    for index, count in enumerate((few, few, many)):
        path = tmp_path / f"{index}.ndjson" if has_file else None
        context = make_context(run_id=f"run-{index}")
        with monkeypatch.context() as patching:
            report, peak = refuse_a_whole_job(emulator, context, path, count, patching)
        assert report["rejected"] == count
        peaks.append(peak)
    grown = (peaks[2] - peaks[1]) / (many - few)
    assert grown < 400, peaks


def test_pages_are_read_one_by_one(
    emulator: EmulatorClient, context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is written before the next one is asked for."""
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

    written, asked = [0], []
    line, iterate = RefusedFile.line, FullStoryHook.iter_errors

    def counted(*arguments: Any, **options: Any) -> bytes:
        written[0] += 1
        return line(*arguments, **options)

    def watched(*arguments: Any, **options: Any) -> Iterator[Any]:
        for page in iterate(*arguments, **options):
            asked.append(written[0])
            yield page

    monkeypatch.setattr(RefusedFile, "line", counted)
    monkeypatch.setattr(FullStoryHook, "iter_errors", watched)
    emulator.configure(page_size=10)
    emulator.order_rejection("name")
    events = [{"name": "A", "user.uid": "u", "number": n} for n in range(100)]
    run(importing(events=events, rejected_uri=f"file://{tmp_path}/refused.ndjson"), context)
    assert asked == list(range(0, 100, 10))


def test_the_file_is_written_twice_at_most(
    emulator: EmulatorClient, context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once with the invalid records, once with the rest, however many jobs there are."""
    names: list[str] = []
    write = Folder.write

    def counted(folder: Folder, name: str, content: Any) -> None:
        names.append(name)
        write(folder, name, content)

    monkeypatch.setattr(Folder, "write", counted)
    emulator.order_rejection("properties.number", list(range(0, 500, 3)))
    events = [{"name": "A" if n % 7 else None, "user.uid": "u", "number": n} for n in range(500)]
    run(importing(events=events, batch_size=20, rejected_uri=f"file://{tmp_path}/refused.ndjson"), context)
    assert names.count("refused.ndjson") == 2
