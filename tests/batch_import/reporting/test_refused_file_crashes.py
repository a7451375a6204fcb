"""A crash anywhere, or a list that cannot be read, costs no line of the file."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pytest

from airflow_provider_fullstory.batch_import.reporting import rejections
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryAccountingError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from tests.refused_file import (
    MANY,
    WAYS,
    check_file,
    files_below,
    in_the_sensor,
    in_the_task,
    in_the_triggerer,
    lines_of,
    seen_posts,
    source,
)
from tests.tries import Breaking, Crash, change_warehouse, make_warehouse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.tries import Task

pytestmark = pytest.mark.usefixtures("short_waits")


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
    write_, create, remove = Folder.write, Folder.create, Folder.remove

    def broken_write(folder: Folder, name: str, content: Any) -> None:
        breaking(name, {}, lambda: write_(folder, name, content))

    def broken_create(folder: Folder, name: str, content: Any) -> bytes:
        held: list[bytes] = []
        breaking(name, {}, lambda: held.append(create(folder, name, content)))
        return held[0]

    def broken_remove(folder: Folder, name: str = "") -> None:
        breaking(f"-{name}", {}, lambda: remove(folder, name))

    return patch.multiple(Folder, write=broken_write, create=broken_create, remove=broken_remove)


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
        emulator.order_rejection("properties.only_fullstory_refuses", code="user_not_found")
        uri = f"file://{tmp_path}/{at}/file.ndjson"
        state_uri = f"file://{tmp_path}/state-{at}" if kept in ("folder", "both") else None
        arguments = CRASHED | {"rejected_uri": uri, "deferrable": deferrable, "state_uri": state_uri}
        task = make_task(kept, **arguments, **given)
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


@pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer])
def test_a_list_that_is_short_is_read_again_by_the_next_try(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    uri: str,
    import_in: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FullStory's list may be complete later than its job, and later than a try waits for that."""
    monkeypatch.setattr(rejections, "_SECONDS_BETWEEN_LISTS", (0.0, 0.0))
    emulator.configure(page_size=1)
    iter_errors, asked = FullStoryHook.iter_errors, []

    def short(hook: FullStoryHook, resource: str, job_id: str) -> Any:
        asked.append(job_id)
        return itertools.islice(iter_errors(hook, resource, job_id), 2)

    task = make_task(
        "store",
        events=source(25, {3}, {1, 2, 4, 12}),
        rejected_uri=uri,
        deferrable=import_in is in_the_triggerer,
        max_rejected=MANY,
    )
    with (
        patch.object(FullStoryHook, "iter_errors", short),
        pytest.raises(FullStoryAccountingError, match=r"counts 3 rejected records in job .*, and lists 2"),
    ):
        task.attempt()
    assert len(asked) == 3
    sent = seen_posts(emulator)
    report = task.attempt()
    assert seen_posts(emulator) == sent
    check_file(report, emulator, 25, {3}, {1, 2, 4, 12})
