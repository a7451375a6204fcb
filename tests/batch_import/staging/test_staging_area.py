"""Batches in a staging folder: whole before the first is sent, what a retry reads, gone once all is well."""

from __future__ import annotations

import gzip
import hashlib
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath, TaskDeferred
from upath import UPath

try:
    from airflow.sdk.io import attach
except ImportError:
    from airflow.io.store import attach

from airflow_provider_fullstory.api.events import Event
from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.batch_import.ledger.stores import FolderStore
from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
from airflow_provider_fullstory.batch_import.staging.staging_area import StagingArea
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryLedgerError,
    FullStorySourceChangedError,
    FullStorySourceError,
    FullStoryStorageError,
)
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
from airflow_provider_fullstory.records.options import MappingOptions
from tests.tries import (
    QUERY,
    REFUSED_BY_FULLSTORY,
    REFUSED_HERE,
    Breaking,
    Crash,
    Task,
    breaking_source,
    change_warehouse,
    make_warehouse,
    noting_job,
    noting_stage,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient


WITH_EITHER_LEDGER = pytest.mark.parametrize("task", ["folder", "both"], indirect=True)


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def task(request: pytest.FixtureRequest, make_task: Callable[..., Task]) -> Task:
    """Give a task that stages its batches, with its ledger there too unless a test wants it elsewhere."""
    return make_task(getattr(request, "param", "folder"))


def bodies_of(task: Task) -> list[Path]:
    return sorted(task.folder.glob("bodies/*/*.json.gz"))


def manifest_of(task: Task) -> Path:
    [place] = (task.folder / "bodies").iterdir()
    return place / "manifest.json"


def interrupt(task: Task, matches: Callable[..., bool] | None = None, **arguments: Any) -> None:
    """Let a try die; by default after the first of its batches was accepted."""
    breaking = Breaking(matches=matches or noting_job(1), is_done=True)
    with pytest.raises(Crash):
        task.attempt(**arguments, max_parallel_uploads=1, breaking=breaking)


def test_staged_bodies_are_the_bytes_that_are_posted_compressed(emulator: EmulatorClient, task: Task) -> None:
    # What is refused keeps the folder.
    with pytest.raises(AirflowFailException):
        task.attempt(events=[*orders(25), REFUSED_HERE])

    staged = [gzip.decompress(path.read_bytes()) for path in bodies_of(task)]
    assert {hashlib.sha256(body).hexdigest() for body in staged} == {
        request["body_sha256"] for request in posts(emulator)
    }
    events = [event for body in staged for event in json.loads(body)["requests"]]
    assert [event["properties"]["number"] for event in events] == list(range(25))
    assert sum(path.stat().st_size for path in bodies_of(task)) < sum(map(len, staged)) / 2


@WITH_EITHER_LEDGER
def test_nothing_is_posted_before_the_last_body_is_written(emulator: EmulatorClient, task: Task) -> None:
    def source() -> Iterator[dict[str, Any]]:
        for event in orders(45):
            assert posts(emulator) == []
            yield event
        assert posts(emulator) == []

    assert task.attempt(events=source())["imported"] == 45


@pytest.mark.parametrize("after", [0, 10, 25])
def test_a_source_that_breaks_while_it_is_staged_sends_nothing(
    emulator: EmulatorClient, task: Task, after: int
) -> None:
    with pytest.raises(ZeroDivisionError):
        task.attempt(events=breaking_source(orders(30), after, ZeroDivisionError()))

    assert posts(emulator) == []
    assert task.attempt(events=orders(30))["imported"] == 30


@WITH_EITHER_LEDGER
@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])
def test_a_retry_sends_what_was_staged_and_never_asks_the_database(
    emulator: EmulatorClient, task: Task, database: Path, *, deferrable: bool
) -> None:
    make_warehouse(database, 45)
    interrupt(task, **QUERY)
    assert numbers(emulator) == list(range(10))
    change_warehouse(database, "DROP TABLE orders")

    report = task.attempt(**QUERY, deferrable=deferrable)

    assert numbers(emulator) == list(range(45))
    assert (report["records"], report["imported"], report["batches"]) == (45, 45, 5)


def test_a_retry_of_a_query_whose_rows_changed_sends_what_was_staged(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 45)
    interrupt(task, **QUERY)
    change_warehouse(database, "DELETE FROM orders WHERE number % 2 = 0")

    task.attempt(**QUERY)

    assert numbers(emulator) == list(range(45))


def test_records_that_were_refused_while_staging_are_counted_by_the_retry(
    emulator: EmulatorClient, task: Task, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, [REFUSED_HERE, *orders(25), REFUSED_HERE, 5])))
    interrupt(task, events=f"file://{file}")
    file.unlink()

    with pytest.raises(
        AirflowFailException, match=r"3 of 28 records are not in FullStory\.(?s:.*)\n3 invalid, never sent"
    ):
        task.attempt(events=f"file://{file}")

    assert task.context["ti"].xcoms["return_value"]["codes"] == {"invalid_argument": 1, "required_field": 2}
    assert numbers(emulator) == list(range(25))


def test_equal_bodies_are_staged_and_sent_each(emulator: EmulatorClient, task: Task, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, orders(1) * 30)))
    interrupt(task, events=f"file://{file}")
    file.unlink()

    report = task.attempt(events=f"file://{file}")

    assert (report["imported"], report["batches"], len(emulator.events())) == (30, 3, 30)
    assert len({request["idempotency_key"] for request in posts(emulator)}) == 3


def test_staged_bodies_that_are_too_large_are_sent_in_halves_by_the_retry_as_well(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 25)
    emulator.configure(max_body_bytes=700)
    interrupt(task, noting_job("1.1"), **QUERY)
    change_warehouse(database, "DROP TABLE orders")

    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == list(range(25))


GARBAGE = {
    "no JSON": b"{",
    "nothing": b"",
    "no text": b"\xff\xfe",
    "broken text": b'{"import_id": "1", "arguments": "\xff", "report": {}, "batches": []}',
    "an array": b"[]",
    "other fields": b'{"batches": 5}',
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_folder_whose_manifest_is_garbage_is_staged_again(
    emulator: EmulatorClient, task: Task, database: Path, garbage: bytes
) -> None:
    make_warehouse(database, 25)
    interrupt(task, **QUERY)
    manifest_of(task).write_bytes(garbage)

    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == list(range(25))


def test_a_folder_without_a_manifest_is_staged_again(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 25)
    interrupt(task, lambda name, _: name.startswith("bodies/") and "/00000002" in name, **QUERY)
    assert posts(emulator) == []
    assert len(bodies_of(task)) == 2
    assert not list(task.folder.glob("bodies/**/manifest.json"))
    # What is staged now has other bodies, of which there are fewer.
    change_warehouse(database, "DELETE FROM orders WHERE number < 10")

    with pytest.raises(Crash):
        task.attempt(**QUERY, breaking=Breaking(matches=noting_stage("sent")))

    assert len(bodies_of(task)) == 2
    assert task.attempt(**QUERY)["imported"] == 15
    assert numbers(emulator) == list(range(10, 25))


def test_a_folder_that_lost_its_bodies_is_staged_again_and_what_was_sent_counts(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 25)
    interrupt(task, **QUERY)
    ObjectStoragePath(f"file://{task.folder}/bodies").rmdir(recursive=True)

    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == list(range(25))


def test_half_written_files_of_a_process_that_died_do_no_harm(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 25)
    interrupt(task, **QUERY)
    for path in [*bodies_of(task), manifest_of(task)]:
        path.with_name(f"{path.name}.0123.partial").write_bytes(path.read_bytes()[:10])

    assert task.attempt(**QUERY)["imported"] == 25
    assert not task.is_staged


@pytest.mark.parametrize("parent", ["sql", "batch_size", "event_name", "mapping"])
def test_bodies_of_other_arguments_are_not_sent(
    emulator: EmulatorClient, task: Task, database: Path, parent: str
) -> None:
    make_warehouse(database, 45)
    interrupt(task, lambda name, _: name.endswith("manifest.json"), **QUERY)
    changes: dict[str, Any] = {
        "sql": {"sql": QUERY["sql"].replace("ORDER", "WHERE number > 9 ORDER")},
        "batch_size": {"batch_size": 5},
        "event_name": {"event_name": "Other"},
        "mapping": {"mapping": {"session.uid": "user.uid"}},
    }

    report = task.attempt(**(QUERY | changes[parent]))

    events = [event["event"] for event in emulator.events()]
    assert len(events) == (35 if parent == "sql" else 45)
    assert report["batches"] == (9 if parent == "batch_size" else -(-len(events) // 10))
    assert {event["name"] for event in events} == {"Other" if parent == "event_name" else "Order"}
    assert all(("session" in event) == (parent == "mapping") for event in events)


@WITH_EITHER_LEDGER
def test_bodies_of_other_arguments_that_were_sent_are_not_forgotten(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 45)
    interrupt(task, **QUERY)

    with pytest.raises(AirflowFailException) as caught:
        task.attempt(**(QUERY | {"event_name": "Other"}))

    assert isinstance(caught.value, FullStorySourceChangedError)
    assert len(posts(emulator)) == 1


def test_values_at_hand_are_staged_again_by_each_try(emulator: EmulatorClient, task: Task) -> None:
    interrupt(task, lambda name, _: name.endswith("manifest.json"), events=orders(25))

    task.attempt(events=orders(25, 100))

    assert numbers(emulator) == list(range(100, 125))


@WITH_EITHER_LEDGER
def test_bodies_of_an_import_that_was_finished_are_not_sent_once_it_is_cleared(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 25)
    # It dies before it has removed what was staged.
    interrupt(task, noting_stage("succeeded"), **QUERY)
    assert task.is_staged
    task.clear()
    change_warehouse(database, "UPDATE orders SET number = number + 100")

    with pytest.raises(AirflowFailException, match="That import had ended with 25 of 25 records"):
        task.attempt(**QUERY)

    assert numbers(emulator) == list(range(25))


@WITH_EITHER_LEDGER
@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])
def test_nothing_is_left_behind_after_success(
    emulator: EmulatorClient, task: Task, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.1)
    task.attempt(events=orders(25), deferrable=deferrable)

    assert not task.is_staged


def test_bodies_are_kept_while_the_task_waits_in_the_triggerer(emulator: EmulatorClient, task: Task) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(TaskDeferred):
        task.operator(events=orders(25), deferrable=True).execute(task.next_context())

    assert len(bodies_of(task)) == 3


@pytest.mark.parametrize("refused", [REFUSED_HERE, REFUSED_BY_FULLSTORY], ids=["here", "by FullStory"])
def test_bodies_are_kept_and_named_where_records_were_refused(
    emulator: EmulatorClient, task: Task, refused: dict[str, Any]
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        task.attempt(events=[*orders(25), refused])

    assert f"What was sent is kept in file://{task.folder}" in str(caught.value)
    assert len(bodies_of(task)) == 3


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"not gzip"), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:20] + bytes(9)), "damaged"),
        (lambda path: path.write_bytes(gzip.compress(b'{"requests":[]}')), "damaged"),
    ],
    ids=["missing", "empty", "no gzip", "cut", "zeros", "another"],
)
def test_a_body_that_is_not_as_it_was_staged_is_not_sent(
    emulator: EmulatorClient, task: Task, database: Path, damage: Callable[[Path], Any], word: str
) -> None:
    make_warehouse(database, 25)
    interrupt(task, **QUERY)
    damage(bodies_of(task)[1])

    with pytest.raises(FullStoryLedgerError) as caught:
        task.attempt(**QUERY)

    assert numbers(emulator) == list(range(10))
    assert f"Batch 2 was staged as file://{task.folder}/bodies/{task.ledger['import']['id']}-" in str(
        caught.value
    )
    assert f"which is now {word}" in str(caught.value)
    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff", b"[]", b"5"], ids=repr)
def test_a_ledger_in_a_folder_that_is_garbage_is_told(
    emulator: EmulatorClient, make_task: Callable[..., Task], garbage: bytes
) -> None:
    task = make_task("folder")
    interrupt(task, events=orders(25))
    (task.folder / "ledger" / "batch_1.json").write_bytes(garbage)

    with pytest.raises(FullStoryLedgerError):
        task.attempt(events=orders(25))

    assert len(posts(emulator)) == 1


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_sent(
    emulator: EmulatorClient, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    task = make_task("store", state_uri=f"file://{tmp_path}/file/state")

    with pytest.raises(FullStoryStorageError, match="Check state_uri and the permissions of its connection"):
        task.attempt(events=orders(25))

    assert emulator.requests() == []


def test_a_scheme_that_nothing_installed_can_write_is_refused(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    with pytest.raises(AirflowFailException, match=r"state_uri is 'carrier-pigeon://loft'") as caught:
        make_task("store", state_uri="carrier-pigeon://loft").attempt(events=orders(1))
    assert isinstance(caught.value, FullStoryInputError)


def test_object_storages_of_other_kinds_serve_as_well(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path
) -> None:
    make_warehouse(database, 25)
    task = make_task("nothing", state_uri="memory://staging-bucket/state", stage_batches=True)
    attach("memory", fs=fsspec.filesystem("memory"))
    root = ObjectStoragePath("memory://staging-bucket")
    emulator.order_fault(method="POST", path="/v2/events/batch", after=1, status=400)
    with pytest.raises(Exception, match="HTTP 400"):
        task.attempt(**QUERY, max_parallel_uploads=1)
    names = [path.name for path in root.rglob("*") if path.is_file()]
    assert sum(name.endswith(".json.gz") for name in names) == 3
    assert not any(name.endswith(".partial") for name in names)
    change_warehouse(database, "DROP TABLE orders")

    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == list(range(25))
    assert not [path for path in root.rglob("*.json.gz") if path.is_file()]


def test_paths_with_characters_that_mean_something_are_only_paths(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, tmp_path: Path
) -> None:
    make_warehouse(database, 25)
    staging = tmp_path / "a b[1]*?%20é"
    task = make_task("nothing", state_uri=f"file://{staging}", stage_batches=True)
    interrupt(task, **QUERY)
    assert len(list(staging.rglob("*.json.gz"))) == 3
    change_warehouse(database, "DROP TABLE orders")

    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == list(range(25))
    assert not list(staging.rglob("*.json.gz"))


def test_another_folder_besides_is_left_alone(emulator: EmulatorClient, task: Task, tmp_path: Path) -> None:
    other = tmp_path / "state" / "imports" / "dag" / "import" / "run-1.-1.of-somebody-else" / "bodies" / "a"
    other.parent.mkdir(parents=True)
    other.write_text("mine")

    task.attempt(events=orders(25))

    assert other.read_text() == "mine"


def peak_of(batches: int, path: Path) -> int:
    """Return the most memory that staging and reading takes."""
    folder = Folder(ObjectStoragePath(f"file://{path}"))
    area = StagingArea(folder, "1", "arguments")
    run = RunIdentity("dag", "run", "task")
    batcher = Batcher(run, BatchLimits(records=100), MappingOptions(EVENTS), lambda _: None)
    names = (f"{number:>2000}" for number in range(batches * 100))
    chunks = (
        MappedChunk([Event(name=next(names)) for _ in range(100)], range(100), []) for _ in range(batches)
    )
    tracemalloc.start()
    try:
        manifest = area.fill(batcher.batches(chunks), lambda: ImportReport("events"))
        assert sum(len(bytes(batch.body)) for batch in area.batches(manifest, run)) > batches * 200_000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_batches(tmp_path: Path) -> None:
    peak_of(1, tmp_path / "warm")

    few, many = peak_of(10, tmp_path / "few"), peak_of(40, tmp_path / "many")

    assert many < few + 200_000


def test_a_folder_keeps_what_was_written_last_and_nothing_else(tmp_path: Path) -> None:
    folder = Folder(ObjectStoragePath(f"file://{tmp_path}/folder"))
    store = FolderStore(folder)
    assert store.get("a") is None
    for number in range(3):
        store.set("a", {"number": number, "text": "é"})

    assert store.get("a") == {"number": 2, "text": "é"}
    assert [path.name for path in (tmp_path / "folder").rglob("*") if path.is_file()] == ["a.json"]
    folder.remove()
    folder.remove()
    assert store.get("a") is None


def test_a_file_that_breaks_while_it_is_staged_sends_nothing(
    emulator: EmulatorClient, task: Task, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl.gz"
    content = gzip.compress("\n".join(map(json.dumps, orders(1000))).encode())
    file.write_bytes(content[:-100])

    with pytest.raises(FullStorySourceError):
        task.attempt(events=f"file://{file}")

    assert posts(emulator) == []
    file.write_bytes(content)
    assert task.attempt(events=f"file://{file}", batch_size=300)["imported"] == 1000


def test_a_folder_of_an_object_storage_works_as_one_of_a_file_system(tmp_path: Path) -> None:
    for path in (UPath("memory://staging/dag/run"), ObjectStoragePath(f"file://{tmp_path}/dag/run")):
        folder = Folder(path)
        store = FolderStore(folder)
        assert store.get("one") is None
        folder.remove()
        for value in ({"a": 1}, {"a": 2}):
            store.set("one", value)
            assert store.get("one") == value
        folder.write("bodies/1/manifest.json", b"{}")
        folder.remove("bodies/1")
        assert folder.read("bodies/1/manifest.json") is None
        assert store.get("one") == {"a": 2}
        folder.remove()
        assert store.get("one") is None
