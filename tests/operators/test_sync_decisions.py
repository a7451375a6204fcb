"""What is decided where a sync, its insert ids, refused records, clears and refreshes meet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryInputError,
    FullStoryMappingError,
    FullStoryRecordsRefusedError,
)
from airflow_provider_fullstory.watermark import Watermark
from tests.operators.syncs import SyncRun, imported, record_of, with_ids
from tests.tries import DAY, Clock, crash, entering, failure_of, noting_job

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.operators.syncs import Warehouse

pytestmark = pytest.mark.usefixtures("dead_runs_hold_a_sync_for_a_second")


def test_a_full_refresh_sends_only_what_is_missing(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))
    SyncRun(tmp_path, "run-1", **with_ids()).attempt()
    # Committed long after the watermark has passed.
    warehouse.add((3, 5))
    SyncRun(tmp_path, "run-2", **with_ids()).attempt()
    assert imported(emulator) == [(1, 10), (2, 20)]
    by_argument = SyncRun(tmp_path, "run-3", **with_ids(full_refresh=True)).attempt()
    warehouse.add((4, 4))
    by_conf = SyncRun(tmp_path, "run-4", **with_ids())
    by_conf.run.conf = {"full_refresh": ["import"]}
    by_conf_report = by_conf.attempt()
    for_another_task = SyncRun(tmp_path, "run-5", **with_ids())
    for_another_task.run.conf = {"full_refresh": ["another"]}

    assert for_another_task.attempt()["records"] == 1
    assert (by_argument["imported"], by_argument["skipped"]) == (1, 2)
    assert (by_conf_report["imported"], by_conf_report["skipped"]) == (1, 3)
    assert imported(emulator) == [(1, 10), (2, 20), (3, 5), (4, 4)]
    assert record_of(tmp_path)["watermark"]["value"]["value"] == "20"


def test_a_full_refresh_without_insert_ids_is_refused(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10))
    task = SyncRun(tmp_path, "run-1")
    task.run.conf = {"full_refresh": True}

    assert "would send all records again" in failure_of(task, FullStoryInputError)
    assert imported(emulator) == []


def test_a_backfill_shares_the_insert_ids_and_leaves_the_watermark(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20), (3, 30))
    backfill = with_ids(
        sql="""SELECT order_id, customer AS "user.uid", updated_at, status FROM orders
               WHERE updated_at <= 20""",
        parameters=None,
        sync_name="orders",
    )
    SyncRun(tmp_path, "backfill", **backfill).attempt()
    assert record_of(tmp_path)["watermark"] is None

    report = SyncRun(tmp_path, "run-1", **with_ids(sync_name="orders")).attempt()

    assert (report["imported"], report["skipped"]) == (1, 2)
    assert SyncRun(tmp_path, "backfill-2", **backfill).attempt()["skipped"] == 2
    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]
    assert record_of(tmp_path)["watermark"]["value"]["value"] == "30"


def test_refused_records_that_were_fixed_are_sent_once_from_their_file(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20), (3, 30))
    warehouse.execute("UPDATE orders SET customer = NULL WHERE order_id = 3")
    emulator.order_rejection("properties.order_id", [2])
    sync = with_ids(sync_name="orders", max_rejected=2, rejected_uri=f"file://{tmp_path}/refused/")
    report = SyncRun(tmp_path, "run-1", **sync).attempt()
    assert (report["imported"], report["invalid"], report["rejected"]) == (1, 1, 1)
    # The watermark may pass records that are in the file; the highest that was sent is that of order 2.
    assert record_of(tmp_path)["watermark"]["value"]["value"] == "20"
    emulator.forget_rejections()
    file = Path(report["rejected_uri"].removeprefix("file://"))
    lines = list(map(json.loads, file.read_text().splitlines()))
    for line in lines:
        line["event"].setdefault("user", {})["uid"] = "fixed"
    fixed = tmp_path / "fixed.jsonl"
    fixed.write_text("\n".join(map(json.dumps, lines)))
    again = with_ids(
        sql=None, sql_conn_id=None, parameters=None, sync_name="orders", events=f"file://{fixed}"
    )

    first = SyncRun(tmp_path, "fix-1", **again, event_name=None).attempt()
    second = SyncRun(tmp_path, "fix-2", **again, event_name=None).attempt()
    third = SyncRun(tmp_path, "run-2", **sync).attempt()

    assert (first["imported"], first["skipped"]) == (2, 0)
    assert (second["imported"], second["skipped"]) == (0, 2)
    assert third["imported"] == 0
    assert imported(emulator) == [(1, 10), (2, 20), (3, 30)]


def test_a_source_that_gives_a_record_twice_sends_it_once(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20), (1, 10), (2, 20), (1, 10))

    report = SyncRun(tmp_path, "run-1", **with_ids()).attempt()

    assert (report["imported"], report["skipped"]) == (2, 3)
    assert imported(emulator) == [(1, 10), (2, 20)]


def test_the_whole_record_as_insert_id_sends_what_changed(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    whole = with_ids(lag=1000, insert_id="*")
    warehouse.add((1, 10), (2, 20))
    SyncRun(tmp_path, "run-1", **whole).attempt()
    warehouse.execute("UPDATE orders SET status = 'paid' WHERE order_id = 1")

    report = SyncRun(tmp_path, "run-2", **whole).attempt()

    assert (report["imported"], report["skipped"]) == (1, 1)
    assert imported(emulator) == [(1, 10), (1, 10), (2, 20)]


@pytest.mark.parametrize("insert_id", [["order_id", "updated_at"], "*"], ids=["columns", "whole record"])
def test_of_a_batch_in_which_some_were_rejected_the_others_are_known(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, insert_id: Any
) -> None:
    warehouse.add(*((number, number) for number in range(1, 31)))
    emulator.order_rejection("properties.order_id", [3, 7, 21])
    sync = with_ids(insert_id=insert_id)
    failure_of(SyncRun(tmp_path, "run-1", **sync), FullStoryRecordsRefusedError)
    assert len(imported(emulator)) == 27
    emulator.forget_rejections()

    report = SyncRun(tmp_path, "run-2", **sync).attempt()

    assert (report["imported"], report["skipped"]) == (3, 27)
    assert imported(emulator) == [(number, number) for number in range(1, 31)]


def test_null_in_an_insert_id_is_refused(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))
    warehouse.execute("UPDATE orders SET order_id = NULL WHERE order_id = 2")

    report = SyncRun(tmp_path, "run-1", **with_ids(max_rejected=1)).attempt()

    assert (report["imported"], report["invalid"]) == (1, 1)
    assert "properties.order_id is missing or NULL" in next(iter(report["reasons"]))


def test_null_in_the_watermark_is_sent_once_with_insert_ids_and_refused_without(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, None))
    sql = """SELECT order_id, customer AS "user.uid", updated_at FROM orders
             WHERE updated_at > :since OR updated_at IS NULL"""
    known = {"sql": sql, "insert_id": "order_id", "sync_name": "known"}

    alone = SyncRun(tmp_path, "run-1", sql=sql, max_rejected=1).attempt()
    first = SyncRun(tmp_path, "run-1", **known).attempt()
    second = SyncRun(tmp_path, "run-2", **known).attempt()

    assert (alone["imported"], alone["invalid"]) == (1, 1)
    assert (first["imported"], second["imported"], second["skipped"]) == (2, 0, 1)


def test_the_watermark_may_be_in_a_column_that_is_not_sent(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10), (2, 20))

    SyncRun(tmp_path, "run-1", exclude_columns="updated_at").attempt()
    warehouse.add((3, 30))
    SyncRun(tmp_path, "run-2", exclude_columns=["UPDATED_AT"]).attempt()

    assert [event["event"]["properties"] for event in emulator.iterate_events()] == [
        {"order_id": number, "status": "new"} for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"insert_id": ["order_id"]}, "knows what it imported by insert_id="),
        ({"insert_id": None, "sql": with_ids()["sql"].replace(">=", ">")}, "this task has no insert_id"),
        (
            {"parameters": {"since": Watermark("order_id", initial=0)}},
            "has its watermark in column 'updated_at'",
        ),
    ],
    ids=["other columns", "no columns", "another watermark"],
)
def test_a_sync_that_was_defined_otherwise_is_refused(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, changes: dict[str, Any], problem: str
) -> None:
    warehouse.add((1, 10))
    SyncRun(tmp_path, "run-1", **with_ids()).attempt()
    warehouse.add((2, 20))

    message = failure_of(SyncRun(tmp_path, "run-2", **with_ids(**changes)), FullStoryInputError)

    assert problem in message
    assert "Nothing was sent." in message
    assert imported(emulator) == [(1, 10)]


def test_insert_ids_cannot_be_given_to_a_sync_that_has_imported_without(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add((1, 10))
    SyncRun(tmp_path, "run-1").attempt()

    assert "has imported without insert ids so far" in failure_of(
        SyncRun(tmp_path, "run-2", **with_ids()), FullStoryInputError
    )


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"state_uri": None}, "needs a folder that remembers what was imported, and state_uri is not set"),
        ({"wait_for_completion": False}, "wait_for_completion=False does not fit"),
        ({"parameters": {"since": Watermark("updated_at", initial=0, lag=5)}}, "has a lag"),
        ({"sql": with_ids()["sql"]}, "compares the watermark by '>='"),
        ({"parameters": {"since": 0}, "sync_name": "orders"}, "sync_name is given, but there is nothing"),
        ({"insert_id": "no_such_column"}, "insert_id names column 'no_such_column'"),
        ({"insert_id": "order_id", "exclude_columns": "order_id"}, "exclude_columns keeps from being sent"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_that_cannot_work_are_refused_before_anything_is_sent(
    tmp_path: Path, warehouse: Warehouse, arguments: dict[str, Any], problem: str
) -> None:
    warehouse.add((1, 10))

    error = FullStoryMappingError if "insert_id" in arguments else FullStoryInputError

    assert problem in failure_of(SyncRun(tmp_path, "run-1", **arguments), error)


def test_a_batch_whose_answer_was_lost_is_settled_by_another_run(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 36)))
    # FullStory has the batch, and the ledger does not have its job.
    crash(SyncRun(tmp_path, "run-1", **with_ids(max_parallel_uploads=1)), noting_job(3))
    before = len(imported(emulator))

    report = SyncRun(tmp_path, "run-2", **with_ids()).attempt()

    assert before >= 20
    assert report["records"] == 35
    assert imported(emulator) == [(number, number) for number in range(1, 36)]


def test_a_batch_that_never_reached_fullstory_is_settled_by_another_run(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*((number, number) for number in range(1, 36)))
    crash(SyncRun(tmp_path, "run-1", **with_ids(max_parallel_uploads=1)), entering(3))

    SyncRun(tmp_path, "run-2", **with_ids()).attempt()

    assert imported(emulator) == [(number, number) for number in range(1, 36)]


def test_an_answer_that_was_lost_a_day_ago_is_a_question_to_the_user(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.add(*((number, number) for number in range(1, 16)))
    crash(SyncRun(tmp_path, "run-1", **with_ids(max_parallel_uploads=1)), noting_job(1))
    Clock(monkeypatch).now += DAY + 1
    emulator.advance_clock(DAY + 1)
    task = SyncRun(tmp_path, "run-2", **with_ids())

    message = failure_of(task, FullStoryAmbiguousError)
    report = task.attempt(on_ambiguous="resend")

    assert "The outcome of batch 1 (10 records) of run 'run-1' of task 'import'" in message
    assert report["imported"] == 15


def test_insert_ids_take_a_key_that_can_read_what_was_rejected(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.add((1, 10))
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.keys[0]))

    message = failure_of(SyncRun(tmp_path, "run-1", **with_ids()), FullStoryInputError)

    assert "an API key of level Standard" in message
    assert imported(emulator) == []
