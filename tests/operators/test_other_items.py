"""Tries of a mapped task whose item changed, or whose arguments did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStorySourceChangedError,
    FullStoryStorageError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.task.state import ImportState
from tests.tries import (
    QUERY,
    REFUSED_HERE,
    Breaking,
    Crash,
    Task,
    change_warehouse,
    crash,
    crash_after_all_were_sent,
    failure_of,
    join_uploads,
    make_warehouse,
    noting_job,
    noting_stage,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

HOUR = 3600.0
UPLOADS = {"method": "POST", "path": "/v2/events/batch"}


pytestmark = pytest.mark.usefixtures("short_waits", "unknown_jobs_are_old")


def test_two_mapped_tasks_with_equal_events_send_them_twice(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    # Airflow keeps a store for each map index; the folder is one for all.
    first, second = make_task("folder", map_index=0), make_task("folder", map_index=1)
    crash(first, noting_job(1), events=orders(5))

    second.attempt(events=orders(5))
    first.attempt(events=orders(5))

    assert numbers(emulator) == sorted([*range(5), *range(5)])


def test_the_folders_of_two_mapped_tasks_do_not_mix(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    first, second = make_task("folder", map_index=0), make_task("folder", map_index=1)
    for task, start in ((first, 0), (second, 100)):
        with pytest.raises(AirflowFailException, match="not in FullStory"):
            task.attempt(events=[*orders(15, start), REFUSED_HERE])

    assert numbers(emulator) == [*range(15), *range(100, 115)]
    assert first.folder != second.folder


@pytest.fixture(params=["values", "query", "file"])
def items(
    request: pytest.FixtureRequest, database: Path, tmp_path: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give arguments for two items of a mapped task: orders 0 to 24, and orders 100 to 124."""
    make_warehouse(database, 200)
    query = QUERY | {"sql": QUERY["sql"].replace("ORDER", "WHERE number BETWEEN :first AND :last ORDER")}
    items: dict[str, list[dict[str, Any]]] = {"values": [], "query": [], "file": []}
    for start in (0, 100):
        file = tmp_path / f"{start}.jsonl"
        file.write_text("\n".join(map(json.dumps, orders(25, start))))
        items["values"].append({"events": orders(25, start)})
        items["query"].append(query | {"parameters": {"first": start, "last": start + 24}})
        items["file"].append({"events": f"file://{file}"})
    one, other = items[request.param]
    return one, other


@pytest.mark.parametrize(
    "matches",
    [noting_job(2), noting_stage("sent"), noting_stage("succeeded")],
    ids=["some were sent", "all were sent", "all was finished"],
)
def test_another_item_of_a_mapped_task_inherits_no_jobs(
    emulator: EmulatorClient,
    task: Task,
    items: tuple[dict[str, Any], dict[str, Any]],
    matches: Callable[..., bool],
) -> None:
    one, other = items
    with pytest.raises(Crash):
        task.attempt(**one, max_parallel_uploads=1, breaking=Breaking(matches=matches, is_done=True))
    sent = len(posts(emulator))

    message = failure_of(task, FullStorySourceChangedError, **other)

    assert "or the item of this mapped task" in message
    assert len(posts(emulator)) == sent
    # A person says that the item is another one.
    task.attempt(**other, on_source_change="resend")
    assert {*range(100, 125)} <= {*numbers(emulator)}


def test_another_schema_of_a_database_counts_as_another_item(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 25)
    crash_after_all_were_sent(task, **QUERY, hook_params={"schema": "east"})
    change_warehouse(database, "UPDATE orders SET number = number + 100")

    message = failure_of(task, FullStorySourceChangedError, **QUERY, hook_params={"schema": "west"})

    assert "Batch 1 is not the one" in message


def test_a_changed_batch_in_the_place_of_a_refused_one_is_not_sent_where_others_were(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.order_fault(**UPLOADS, status=401)
    with pytest.raises(FullStoryError):
        task.attempt(events=orders(30), max_parallel_uploads=3)
    accepted, sent = numbers(emulator), len(posts(emulator))

    failure_of(task, FullStorySourceChangedError, events=orders(29, 1), max_parallel_uploads=3)

    assert accepted
    assert numbers(emulator) == accepted
    assert len(posts(emulator)) == sent


def test_what_was_staged_and_cannot_be_removed_does_not_fail_an_import_that_was_delivered(
    emulator: EmulatorClient, make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise FullStoryStorageError("no.")

    monkeypatch.setattr(ImportState, "clean_up", refuse)

    assert make_task("both").attempt(events=orders(25))["imported"] == 25


def test_rows_that_changed_are_told_from_arguments_that_did(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path
) -> None:
    task = make_task("store")
    make_warehouse(database, 25)
    crash(task, noting_job(2), **QUERY, max_parallel_uploads=1)
    other = failure_of(task, FullStorySourceChangedError, **QUERY, batch_size=7)
    change_warehouse(database, "UPDATE orders SET number = number + 100")
    rows = failure_of(task, FullStorySourceChangedError, **QUERY)

    assert "Its arguments changed (sql, parameters, mapping, batch_size, ...)" in other
    assert "With the old ones, clearing the task resumes where the last try ended" in other
    assert "Its rows or their order changed.\nORDER BY a unique column; stage_batches=True keeps" in rows


def test_batches_staged_for_other_arguments_are_kept(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path
) -> None:
    task = make_task("both")
    make_warehouse(database, 30)
    with pytest.raises(Crash):
        task.attempt(**QUERY, max_parallel_uploads=1, breaking=Breaking(matches=noting_job(2)))
    failure_of(task, FullStorySourceChangedError, **QUERY, batch_size=7)
    change_warehouse(database, "DROP TABLE orders")

    assert task.attempt(**QUERY)["imported"] == 30
    assert numbers(emulator) == list(range(30))


def test_uploads_end_with_the_time_of_the_task(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store")
    emulator.order_fault(**UPLOADS, delay_seconds=HOUR)

    with pytest.raises(FullStoryTimeoutError, match="Time was up while 1 batch had no answer yet"):
        task.operator(events=orders(10), timeout=0.3).execute(task.next_context())

    emulator.forget_faults()
    join_uploads()
