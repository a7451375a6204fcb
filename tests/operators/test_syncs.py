"""Syncs: each run sends what is new, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryLedgerError,
    FullStoryRecordsRefusedError,
    FullStorySyncOpenError,
)
from tests.operators.syncs import SyncRun, imported, record_of, with_ids
from tests.tries import crash, failure_of, noting_job

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.operators.syncs import Warehouse

pytestmark = pytest.mark.usefixtures("dead_runs_hold_a_sync_for_a_second")
DEFERRABLE = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferrable"])


@DEFERRABLE
@pytest.mark.parametrize("ids", [False, True], ids=["watermark alone", "insert ids"])
def test_each_run_sends_what_is_new(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, deferrable: bool, ids: bool
) -> None:
    arguments = with_ids() if ids else {}
    warehouse.add((1, 10), (2, 20))
    first = SyncRun(tmp_path, "run-1", deferrable=deferrable, **arguments).attempt()
    warehouse.add((3, 30))
    second = SyncRun(tmp_path, "run-2", deferrable=deferrable, **arguments).attempt()
    third = SyncRun(tmp_path, "run-3", deferrable=deferrable, **arguments).attempt()

    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]
    assert (first["imported"], first["skipped"]) == (2, 0)
    # With >= the row at the border is selected again, and known by its insert id.
    assert (second["imported"], second["skipped"]) == (1, 1 if ids else 0)
    assert (third["imported"], third["skipped"]) == (0, 1 if ids else 0)
    assert record_of(tmp_path)["watermark"]["value"] == {"type": "integer", "value": "30"}
    assert [report["watermark"] for report in (first, second, third)] == ["20", "30", "30"]
    assert record_of(tmp_path)["open"] is None


def test_batches_that_wait_until_all_fit_into_the_quota_are_remembered(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    emulator.configure(event_quota=100)
    warehouse.add(*((number, number) for number in range(1, 36)))

    SyncRun(tmp_path, "run-1", **with_ids(lag=100)).attempt()
    again = SyncRun(tmp_path, "run-2", **with_ids(lag=100)).attempt()

    assert (again["imported"], again["skipped"]) == (0, 35)
    assert imported(emulator) == [(number, number) for number in range(1, 36)]


def test_a_retry_settles_what_the_first_try_sent_and_sends_the_rest(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 36)))
    task = SyncRun(tmp_path, "run-1", **with_ids())
    crash(task, noting_job(2))
    # Updated and added meanwhile: no batch of the retry is one of the first try.
    warehouse.execute("UPDATE orders SET updated_at = 100 WHERE order_id = 3")
    warehouse.add((36, 36))

    report = task.attempt()

    assert imported(emulator) == sorted([*((number, number) for number in range(1, 37)), (3, 100)])
    assert report["imported"] + report["skipped"] == 36
    assert report["skipped"] >= 19
    assert record_of(tmp_path)["insert_ids"]["recent"]


def test_without_insert_ids_a_retry_sends_the_same_batches_and_then_what_was_added(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 26)))
    task = SyncRun(tmp_path, "run-1")
    crash(task, noting_job(3))
    warehouse.add((26, 26), (27, 27))

    report = task.attempt()

    assert imported(emulator) == [(number, number) for number in range(1, 28)]
    assert report["imported"] == 27


@pytest.mark.parametrize("ids", [False, True], ids=["watermark alone", "insert ids"])
def test_a_clear_of_a_green_run_sends_only_what_is_new(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, ids: bool
) -> None:
    warehouse.add((1, 10), (2, 20))
    task = SyncRun(tmp_path, "run-1", **(with_ids() if ids else {}))
    task.attempt()
    SyncRun(tmp_path, "run-2", **(with_ids() if ids else {})).attempt()
    warehouse.add((3, 30))
    task.clear()

    report = task.attempt()

    assert report["imported"] == 1
    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]


def test_the_next_run_settles_what_a_dead_one_left(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 36)))
    crash(SyncRun(tmp_path, "run-1", **with_ids()), noting_job(2))
    warehouse.add((36, 36))

    report = SyncRun(tmp_path, "run-2", **with_ids()).attempt()

    assert imported(emulator) == [(number, number) for number in range(1, 37)]
    assert report["records"] == 36
    assert report["skipped"] >= 19


def test_a_sync_does_not_go_on_without_the_insert_ids_of_what_was_sent(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 36)))
    crash(SyncRun(tmp_path, "run-1", **with_ids()), noting_job(2))
    for file in tmp_path.glob("state/syncs/*/imports/00000001/ids/00000001.ids"):
        file.unlink()

    with pytest.raises(FullStoryLedgerError, match=r"Of batch 1 of run 'run-1'.* 0 insert ids are known"):
        SyncRun(tmp_path, "run-2", **with_ids()).attempt()

    assert record_of(tmp_path)["open"]["number"] == 1


def test_without_insert_ids_the_next_run_names_the_dead_one(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 36)))
    dead = SyncRun(tmp_path, "run-1")
    crash(dead, noting_job(2))

    with pytest.raises(FullStorySyncOpenError, match=r"Run 'run-1' of task 'import' in DAG 'dag'"):
        SyncRun(tmp_path, "run-2").attempt()

    dead.attempt()
    SyncRun(tmp_path, "run-2").attempt()
    assert imported(emulator) == [(number, number) for number in range(1, 36)]


def test_rejected_records_are_sent_again_until_they_are_accepted(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20), (3, 30))
    emulator.order_rejection("properties.order_id", [2])
    failure_of(SyncRun(tmp_path, "run-1", **with_ids()), FullStoryRecordsRefusedError)
    assert imported(emulator) == [(1, 10), (3, 30)]
    assert record_of(tmp_path)["watermark"] is None
    emulator.forget_rejections()

    report = SyncRun(tmp_path, "run-2", **with_ids()).attempt()

    assert (report["imported"], report["skipped"]) == (1, 2)
    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]
