"""One run of a sync works at a time: overlaps, deferred runs, and runs that never come back."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryInputError,
    FullStoryKilledError,
    FullStoryRecordsRefusedError,
    FullStorySyncOpenError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.syncs import command, sync
from airflow_provider_fullstory.syncs.folders import sync_folder
from tests.operators.syncs import SyncRun, imported, record_of, with_ids
from tests.tries import failure_of, prepare_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.operators.syncs import Warehouse

pytestmark = pytest.mark.usefixtures("runs_look_often")
IDS = pytest.mark.parametrize("ids", [False, True], ids=["watermark alone", "insert ids"])


def deferred(task: SyncRun, emulator: EmulatorClient) -> Callable[[], dict[str, Any]]:
    """Run a try up to its deferral, and return what Airflow does when the trigger has fired."""
    emulator.configure(processing_seconds=3600)
    operator, context = task.operator(deferrable=True), task.next_context()
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    emulator.configure(processing_seconds=0)
    emulator.advance_clock(3601)
    path, arguments = caught.value.trigger.serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))

    def resume() -> dict[str, Any]:
        event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
        report: dict[str, Any] = task.operator(deferrable=True).execute_complete(context, event=event)
        return report

    return resume


@IDS
def test_the_next_run_settles_a_deferred_one_which_then_ends_well(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, ids: bool
) -> None:
    arguments = with_ids() if ids else {}
    warehouse.add((1, 10), (2, 20))
    resume = deferred(SyncRun(tmp_path, "run-1", **arguments), emulator)
    warehouse.add((3, 30))

    second = SyncRun(tmp_path, "run-2", **arguments).attempt()
    first = resume()

    assert first["imported"] == 2
    # The first one has moved the watermark: the row at the border alone is read again.
    assert (second["imported"], second["skipped"]) == (1, 1 if ids else 0)
    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]
    assert record_of(tmp_path)["watermark"]["value"]["value"] == "30"


@IDS
def test_the_next_run_goes_on_after_a_deferred_one_that_never_comes_back(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, ids: bool
) -> None:
    arguments = with_ids() if ids else {}
    warehouse.add((1, 10), (2, 20))
    deferred(SyncRun(tmp_path, "run-1", **arguments), emulator)
    warehouse.add((3, 30))

    SyncRun(tmp_path, "run-2", **arguments).attempt()

    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]


def test_the_watermark_moves_even_if_each_run_begins_before_the_one_before_has_ended(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))
    deferred(SyncRun(tmp_path, "run-1", **with_ids()), emulator)
    warehouse.add((3, 30))
    deferred(SyncRun(tmp_path, "run-2", **with_ids()), emulator)
    assert record_of(tmp_path)["watermark"]["value"]["value"] == "20"

    third = SyncRun(tmp_path, "run-3", **with_ids()).attempt()

    assert (third["records"], third["skipped"]) == (1, 1)
    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]


def test_a_settled_run_with_a_rejected_record_leaves_the_watermark_where_it_is(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))
    emulator.order_rejection("properties.order_id", [1])
    deferred(SyncRun(tmp_path, "run-1", **with_ids()), emulator)
    emulator.forget_rejections()

    second = SyncRun(tmp_path, "run-2", **with_ids()).attempt()

    assert (second["records"], second["imported"], second["skipped"]) == (2, 1, 1)
    assert imported(emulator) == [(1, 10), (2, 20)]


def test_without_insert_ids_the_next_run_does_not_pass_what_a_deferred_one_has_yet_to_judge(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))
    emulator.order_rejection("properties.order_id", [2])
    first = SyncRun(tmp_path, "run-1")
    resume = deferred(first, emulator)
    warehouse.add((3, 30))

    with pytest.raises(FullStorySyncOpenError, match=r"Run 'run-1' of task 'import'"):
        SyncRun(tmp_path, "run-2").attempt()
    with pytest.raises(FullStoryRecordsRefusedError):
        resume()
    with pytest.raises(FullStorySyncOpenError, match=r"judges anew what was refused"):
        SyncRun(tmp_path, "run-2").attempt()
    # A person clears it, and lets the record be.
    first.clear()
    first.attempt(max_rejected=1)
    SyncRun(tmp_path, "run-2").attempt()

    assert imported(emulator) == [(1, 10), (3, 30)]
    assert record_of(tmp_path)["watermark"]["value"]["value"] == "30"


def test_runs_at_the_same_time_wait_for_each_other(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 101)))
    emulator.configure(processing_seconds=0.05)
    tasks = [SyncRun(tmp_path, f"run-{number}", **with_ids()) for number in range(4)]
    with ThreadPoolExecutor(4, initializer=prepare_thread) as pool:
        reports = list(pool.map(lambda task: task.operator().execute(task.next_context()), tasks))

    assert sorted(report["imported"] for report in reports) == [0, 0, 0, 100]
    # Those that waited until another had finished read from its watermark.
    assert all(report["skipped"] in (1, 100) for report in reports if not report["imported"])
    assert imported(emulator) == [(number, number) for number in range(1, 101)]


def test_a_run_that_waited_in_vain_names_the_one_that_holds_the_sync(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10))
    folder = sync_folder(f"file://{tmp_path}/state", "dag.import")
    with sync.take(folder, "run 'run-1' of task 'sync' in DAG 'other'", deadline=0):
        task = SyncRun(tmp_path, "run-2", timeout=1.0)
        with pytest.raises(FullStoryTimeoutError, match=r"run 'run-1' of task 'sync' in DAG 'other'"):
            task.attempt()

    assert imported(emulator) == []
    assert SyncRun(tmp_path, "run-2").attempt()["imported"] == 1


def test_a_run_that_is_stopped_while_it_waits_ends(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10))
    folder = sync_folder(f"file://{tmp_path}/state", "dag.import")
    with sync.take(folder, "run 'run-1'", deadline=0):
        task = SyncRun(tmp_path, "run-2")
        operator, context = task.operator(), task.next_context()
        ended: list[Exception] = []

        def execute() -> None:
            prepare_thread()
            try:
                operator.execute(context)
            except FullStoryKilledError as error:
                ended.append(error)

        thread = threading.Thread(target=execute)
        thread.start()
        operator.on_kill()
        thread.join(30)

    assert "stopped" in str(ended[0])
    assert imported(emulator) == []


def test_another_organization_is_refused(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10))
    SyncRun(tmp_path, "run-1", **with_ids()).attempt()
    emulator.configure(organization="ANOTHER")
    warehouse.add((2, 20))

    message = failure_of(SyncRun(tmp_path, "run-2", **with_ids()), FullStoryInputError)

    assert "organization 'ANOTHER', but sync 'dag.import' imports into 'EMULATOR'" in message
    assert imported(emulator) == [(1, 10)]


def test_without_insert_ids_the_watermark_does_not_pass_a_batch_that_counts_as_not_sent(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))
    # Its job ends without importing a record.
    emulator.configure(fail_jobs=True)
    deferred(SyncRun(tmp_path, "run-1"), emulator)
    emulator.configure(fail_jobs=False)
    warehouse.add((3, 30))

    SyncRun(tmp_path, "run-2", on_ambiguous="resend").attempt()

    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]
    assert record_of(tmp_path)["watermark"]["value"]["value"] == "30"


def test_a_person_who_sets_the_watermark_has_the_last_word_over_an_import_that_is_open(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))
    resume = deferred(SyncRun(tmp_path, "run-1", **with_ids()), emulator)
    set_to_5 = ["--state-uri", f"file://{tmp_path}/state", "set", "dag.import", "5"]
    with pytest.raises(SystemExit):
        command.main([*set_to_5, "--type", "integer", "--yes"])

    resume()

    assert record_of(tmp_path)["watermark"]["value"]["value"] == "5"
    assert SyncRun(tmp_path, "run-2", **with_ids()).attempt()["skipped"] == 2
    assert imported(emulator) == [(1, 10), (2, 20)]


def test_rejected_records_that_cannot_be_told_leave_the_import_open(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    def sync(page: str, **arguments: Any) -> dict[str, Any]:
        shared = {"context": {"browser": {"url": f"https://shop.example.com/{page}"}}}
        return with_ids(insert_id="*", shared=shared, **arguments)

    warehouse.add((1, 10), (2, 20))
    emulator.order_rejection("properties.order_id", [2])
    deferred(SyncRun(tmp_path, "run-1", **sync("a")), emulator)
    emulator.forget_rejections()

    message = failure_of(SyncRun(tmp_path, "run-2", **sync("b")), FullStoryAmbiguousError)
    assert "1 cannot be told from the 1 record that it imported" in message
    assert record_of(tmp_path)["open"]["run_id"] == "run-1"
    SyncRun(tmp_path, "run-3", **sync("b", on_ambiguous="resend")).attempt()

    assert imported(emulator) == [(1, 10), (1, 10), (2, 20)]
