"""Users are changed by each import that has them: what was sent last must count, and nothing is doubled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryBadRequestError,
    FullStoryError,
    FullStoryInputError,
    FullStoryKilledError,
    FullStorySyncOpenError,
)
from airflow_provider_fullstory.operators.fullstory import FullStoryImportUsersOperator
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.watermark import Watermark
from tests.operators.syncs import SyncRun, record_of
from tests.tries import Task, crash, failure_of, join_uploads, noting_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.logs import Log
    from tests.operators.syncs import Warehouse

SQL = """
    SELECT customer AS uid, status AS plan, updated_at FROM orders
    WHERE updated_at {comparison} :since ORDER BY updated_at, order_id
"""


class UsersTask(Task):
    """A task that imports users."""

    def operator(self, **arguments: Any) -> Any:
        given = {"task_id": "import", "state_uri": self.state_uri} | self.arguments | arguments
        return FullStoryImportUsersOperator(**given)


class UsersRun(SyncRun):
    """A run of a sync of users that has a watermark alone."""

    def __init__(self, tmp_path: Path, run_id: str, comparison: str = ">", **arguments: Any) -> None:
        given = {"sql": SQL.format(comparison=comparison), "exclude_columns": "updated_at"} | arguments
        super().__init__(tmp_path, run_id, **given)
        del self.arguments["event_name"]

    def operator(self, **arguments: Any) -> Any:
        given = {"task_id": "import", "state_uri": self.state_uri} | self.arguments | arguments
        return FullStoryImportUsersOperator(**given)


@pytest.fixture
def task(tmp_path: Path) -> UsersTask:
    return UsersTask(None, f"file://{tmp_path / 'state'}", max_parallel_uploads=1)


def users(plan: str, count: int = 3) -> list[dict[str, str]]:
    return [{"uid": f"u{number}", "plan": plan} for number in range(count)]


def plans(emulator: EmulatorClient) -> dict[str, str]:
    """Return the plan of each user that FullStory has."""
    return {user["user"]["uid"]: user["user"]["properties"]["plan"] for user in emulator.users()}


def test_content_that_comes_back_within_a_day_counts(task: UsersTask, emulator: EmulatorClient) -> None:
    for plan in ("free", "pro", "free", "pro"):
        task.attempt(users=users(plan))
        task.clear()
        assert set(plans(emulator).values()) == {plan}
    assert len(emulator.jobs()) == 4


@pytest.mark.parametrize("durable", [True, False])
def test_without_a_ledger_all_is_sent_again(emulator: EmulatorClient, *, durable: bool) -> None:
    task = UsersTask(None, None, durable=durable)
    for plan in ("free", "pro", "free"):
        task.attempt(users=users(plan))
        assert set(plans(emulator).values()) == {plan}
    assert len(emulator.jobs()) == 3


def test_a_batch_that_did_not_change_is_not_sent_again(task: UsersTask, emulator: EmulatorClient) -> None:
    task.attempt(users=users("free"))
    task.clear()
    task.attempt(users=users("free"))
    assert len(emulator.jobs()) == 1


def test_content_that_comes_back_after_fullstory_refused_another_counts(
    task: UsersTask, emulator: EmulatorClient
) -> None:
    for plan in ("free", "pro"):
        task.attempt(users=users(plan))
        task.clear()
    emulator.order_fault(method="POST", path="/v2/users/batch", times=1, status=400)
    with pytest.raises(FullStoryBadRequestError):
        task.attempt(users=users("gold"))
    task.clear()

    task.attempt(users=users("free"))

    assert set(plans(emulator).values()) == {"free"}


def test_a_batch_that_comes_back_after_it_was_left_out_counts(
    task: UsersTask, emulator: EmulatorClient
) -> None:
    few = [{"uid": "u2", "plan": "pro"}]
    for given in (users("free"), few, users("free")):
        task.attempt(users=given, batch_size=2)
        task.clear()
    assert set(plans(emulator).values()) == {"free"}


def test_an_earlier_job_is_finished_before_a_changed_user_is_sent(
    task: UsersTask, emulator: EmulatorClient
) -> None:
    emulator.configure(processing_seconds=0.5)
    crash(task, noting_job(2), users=users("free", 25))

    task.attempt(users=users("pro", 25))

    assert set(plans(emulator).values()) == {"pro"}
    jobs = {job["id"]: job for job in emulator.jobs()}
    first, *_ = jobs.values()
    changed = [job for job in jobs.values() if job["created"] >= first["finished"]]
    assert len(changed) >= 2
    assert sum(job["imports"] for job in changed) >= 20


@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
@pytest.mark.parametrize("stage_batches", [False, True], ids=["", "staged"])
def test_a_job_whose_answer_was_lost_is_finished_before_a_changed_user_is_sent(
    task: UsersTask, emulator: EmulatorClient, stage_batches: bool, is_cleared: bool
) -> None:
    emulator.configure(processing_seconds=0.5)
    crash(task, noting_job(1), users=users("free", 25), stage_batches=stage_batches)
    if is_cleared:
        task.clear()

    task.attempt(users=users("pro", 25), stage_batches=stage_batches)

    first, *changed = emulator.jobs()
    assert len(changed) == 3
    assert all(job["created"] >= first["finished"] for job in changed)
    assert set(plans(emulator).values()) == {"pro"}
    assert list(task.folder.rglob("in_flight/*.json")) == []


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize(
    # FullStory has nothing of what it refuses, so the changed users are sent.
    ("status", "words"),
    [(400, "This was batch 1 "), (500, "whose answer an earlier try lost")],
)
def test_a_batch_that_fullstory_does_not_take_is_not_asked_for_twice(
    task: UsersTask, emulator: EmulatorClient, status: int, words: str
) -> None:
    crash(task, noting_job(1), users=users("free"))
    emulator.order_fault(method="POST", path="/v2/users/batch", times=100, status=status)
    with pytest.raises(FullStoryError, match=words):
        task.attempt(users=users("pro"))
    emulator.forget_faults()

    task.attempt(users=users("pro"))

    assert plans(emulator) == dict.fromkeys(["u0", "u1", "u2"], "pro")
    assert list(task.folder.rglob("in_flight/*.json")) == []


def test_a_task_that_is_stopped_names_its_own_jobs_not_those_of_earlier_tries(
    task: UsersTask, emulator: EmulatorClient, log: Log
) -> None:
    crash(task, noting_job(3), users=users("free", 25))
    earlier = {job["id"] for job in emulator.jobs()}
    emulator.configure(processing_seconds=60)
    later = 2 * CHUNK_ROWS

    def source() -> Iterator[dict[str, str]]:
        yield from users("pro", later)
        while len(emulator.jobs()) < len(earlier) + 3:
            time.sleep(0.01)
        operator.on_kill()
        yield from users("pro", 2 * later)[later:]

    operator = task.operator(users=source())
    with pytest.raises(FullStoryKilledError):
        operator.execute(task.next_context())
    join_uploads()

    [stopped] = log.having("The task was stopped.")
    assert log.having("Job 1 of 1 is finished")
    assert log.having("Job 2 of 2 is finished")
    assert "FullStory may still be working on" in stopped
    assert not any(job in stopped for job in earlier)


def test_a_user_without_uid_may_not_be_made_anew(task: UsersTask, emulator: EmulatorClient) -> None:
    message = failure_of(task, FullStoryInputError, users=[{"plan": "free"}], allow_anonymous=True)
    assert 'Set on_source_change="fail"' in message
    assert "another idempotency_salt" in message
    assert emulator.jobs() == []

    task.attempt(users=[{"plan": "free"}], allow_anonymous=True, on_source_change="fail")
    assert len(emulator.users()) == 1


@pytest.mark.usefixtures("emulator")
def test_properties_that_are_dropped_count_where_other_users_are_skipped(task: UsersTask) -> None:
    arguments: dict[str, Any] = {"insert_id": "*", "drop_invalid_properties": True}
    task.attempt(users=[{"uid": "u0"}], **arguments)
    task.clear()

    report = task.attempt(users=[{"uid": "u0"}, {"uid": "u1", "no name": 1}], **arguments)

    assert (report["skipped"], report["imported"]) == (1, 1)
    assert sum(report["dropped_properties"].values()) == 1


@pytest.mark.parametrize(
    ("insert_id", "mapping"), [("uid", {}), (["UID", "id"], {}), ("customer", {"uid": "customer"})]
)
def test_an_insert_id_that_no_change_alters_is_refused(
    task: UsersTask, emulator: EmulatorClient, insert_id: Any, mapping: dict[str, str]
) -> None:
    message = failure_of(task, FullStoryInputError, users=users("free"), insert_id=insert_id, mapping=mapping)
    assert 'Set insert_id="*"' in message
    assert emulator.jobs() == []


def test_an_insert_id_may_hold_the_uid(task: UsersTask, emulator: EmulatorClient) -> None:
    for plan in ("free", "pro"):
        task.attempt(users=users(plan), insert_id=["uid", "plan"])
        task.clear()
        assert set(plans(emulator).values()) == {plan}


@pytest.mark.usefixtures("dead_runs_hold_a_sync_for_a_second")
class TestSyncs:
    """A watermark alone is enough: what is read again is changed to what it is already."""

    @pytest.mark.parametrize(("comparison", "lag"), [(">=", 0), (">", 5), ("=", 0)])
    def test_users_may_be_read_again(
        self, tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, comparison: str, lag: int
    ) -> None:
        warehouse.add((1, 10), status="free")
        since = {"since": Watermark("updated_at", initial=10 if comparison == "=" else 0, lag=lag)}
        for run_id in ("run-1", "run-2"):
            UsersRun(tmp_path, run_id, comparison, parameters=since).attempt()
        assert plans(emulator) == {"u1": "free"}

    @pytest.mark.parametrize(
        ("since", "arguments"),
        [
            (Watermark("updated_at", initial=0), {"comparison": ">="}),
            (Watermark("updated_at", initial=0, lag=5), {}),
            (Watermark("updated_at", initial=0), {"full_refresh": True}),
        ],
    )
    def test_users_without_uid_may_not_be_read_again(
        self,
        tmp_path: Path,
        warehouse: Warehouse,
        emulator: EmulatorClient,
        since: Watermark,
        arguments: dict[str, Any],
    ) -> None:
        warehouse.add((1, 10), status="free")
        task = UsersRun(
            tmp_path,
            "run-1",
            parameters={"since": since},
            allow_anonymous=True,
            on_source_change="fail",
            **arguments,
        )
        assert "insert_id" in failure_of(task, FullStoryInputError)
        assert emulator.jobs() == []

    def test_a_run_that_died_is_not_made_good_where_users_may_lack_a_uid(
        self, tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
    ) -> None:
        for number in range(25):
            warehouse.add((number, number + 1), status="free")
        arguments: dict[str, Any] = {
            "sql": "SELECT status AS plan, updated_at FROM orders WHERE updated_at > :since ORDER BY 2",
            "allow_anonymous": True,
            "on_source_change": "fail",
            "max_parallel_uploads": 1,
        }
        crash(UsersRun(tmp_path, "run-1", **arguments), noting_job(2))

        with pytest.raises(FullStorySyncOpenError, match="Run 'run-1'"):
            UsersRun(tmp_path, "run-2", **arguments).attempt()
        UsersRun(tmp_path, "run-1", **arguments).attempt()

        assert len(emulator.users()) == 25

    @pytest.mark.usefixtures("emulator")
    def test_a_full_refresh_needs_no_insert_ids(self, tmp_path: Path, warehouse: Warehouse) -> None:
        warehouse.add((1, 10), (2, 20), status="free")
        UsersRun(tmp_path, "run-1").attempt()
        report = UsersRun(tmp_path, "run-2", full_refresh=True).attempt()
        assert (report["records"], report["imported"]) == (2, 2)

    def test_a_later_run_goes_on_after_one_that_died(
        self, tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
    ) -> None:
        for number in range(25):
            warehouse.add((number, number + 1), status="free")
        crash(UsersRun(tmp_path, "run-1", max_parallel_uploads=1), noting_job(2))
        warehouse.execute("UPDATE orders SET status = 'pro', updated_at = updated_at + 100")

        report = UsersRun(tmp_path, "run-2").attempt()

        assert report["imported"] == 25
        assert set(plans(emulator).values()) == {"pro"}
        assert record_of(tmp_path)["watermark"]["value"]["value"] == "125"
        assert record_of(tmp_path)["open"] is None

    def test_a_retry_sends_what_changed_meanwhile(
        self, tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
    ) -> None:
        for number in range(25):
            warehouse.add((number, number + 1), status="free")
        task = UsersRun(tmp_path, "run-1", max_parallel_uploads=1)
        crash(task, noting_job(2))
        warehouse.execute("UPDATE orders SET status = 'pro', updated_at = 50 WHERE order_id = 3")

        report = task.attempt()

        assert report["imported"] == 25
        assert plans(emulator) == {f"u{number}": "pro" if number == 3 else "free" for number in range(25)}
        assert record_of(tmp_path)["watermark"]["value"]["value"] == "50"

    def test_a_retry_waits_for_a_batch_whose_answer_was_lost(
        self, tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
    ) -> None:
        warehouse.add((1, 1), status="free")
        emulator.configure(processing_seconds=1.5)
        task = UsersRun(tmp_path, "run-1")
        crash(task, noting_job(1))
        warehouse.execute("UPDATE orders SET status = 'pro'")

        task.attempt()

        first, second = emulator.jobs()
        assert second["created"] >= first["finished"]

    @pytest.mark.usefixtures("emulator")
    def test_a_row_without_a_watermark_is_sent(self, tmp_path: Path, warehouse: Warehouse) -> None:
        warehouse.add((1, None), status="free")
        sql = "SELECT customer AS uid, status AS plan, updated_at FROM orders WHERE updated_at > :since OR 1"
        assert UsersRun(tmp_path, "run-1", sql=sql).attempt()["imported"] == 1


def test_refused_users_are_no_events(task: UsersTask, emulator: EmulatorClient, tmp_path: Path) -> None:
    uri = f"file://{tmp_path / 'refused.ndjson'}"
    task.attempt(users=[{"uid": ""}], rejected_uri=uri, max_rejected=1)
    events = Task(None, None, events=uri, event_name="Refused")
    message = failure_of(events, FullStoryInputError)
    assert (
        "events is a file of refused users: give it as users= to the operator that imports users" in message
    )
    assert emulator.events() == []
