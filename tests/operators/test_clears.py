"""A clear is a try like any other: whenever it comes, FullStory has each event once, and no try is blind."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.emulator.embedded import EmulatorServer
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryInputError,
    FullStorySourceChangedError,
    FullStoryTransportError,
)
from airflow_provider_fullstory.operators import fullstory as operators
from tests.tries import (
    DAY,
    QUERY,
    REFUSED_BY_FULLSTORY,
    REFUSED_HERE,
    Breaking,
    Clock,
    Crash,
    Task,
    breaking_source,
    change_warehouse,
    creating_imports,
    failure_of,
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
WITH_A_LEDGER = pytest.mark.parametrize("task", ["store", "state", "folder"], indirect=True)
LATER = pytest.mark.parametrize("passed", [HOUR, 3 * DAY], ids=["an hour", "three days"])


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(operators, "_RETRY_FOR", 0.05)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the time of the task and of FullStory, which passes only where a test says so."""
    return Clock(monkeypatch)


def clear(task: Task, clock: Clock, passed: float) -> None:
    clock.now += passed
    task.clear()


# Green tasks.


@WITH_A_LEDGER
@LATER
@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])
def test_a_green_task_sends_nothing_that_fullstory_has(
    emulator: EmulatorClient, task: Task, clock: Clock, passed: float, *, deferrable: bool
) -> None:
    first = task.attempt(events=orders(25), deferrable=deferrable)
    clear(task, clock, passed)

    again = task.attempt(events=orders(25), deferrable=deferrable)

    assert len(posts(emulator)) == 3
    assert again == first
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
@LATER
def test_a_green_task_whose_source_changed_fails_and_says_how_the_import_had_ended(
    emulator: EmulatorClient, task: Task, clock: Clock, database: Path, passed: float
) -> None:
    make_warehouse(database, 25)
    task.attempt(**QUERY)
    clear(task, clock, passed)
    make_warehouse(database, 1, start=25)

    message = failure_of(task, FullStorySourceChangedError, **QUERY)

    assert "That import had ended with 25 of 25 records in FullStory" in message
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_a_green_task_sends_what_came_after_all_that_was_sent(
    emulator: EmulatorClient, task: Task, clock: Clock, database: Path
) -> None:
    make_warehouse(database, 20)
    task.attempt(**QUERY)
    clear(task, clock, 3 * DAY)
    make_warehouse(database, 5, start=20)

    report = task.attempt(**QUERY)

    assert (report["records"], report["imported"], report["batches"]) == (25, 25, 3)
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_a_green_task_whose_jobs_fullstory_has_forgotten_doubles_nothing(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    task.attempt(events=orders(25))
    clear(task, clock, 1000 * DAY)
    emulator.order_fault(method="GET", path="/v2/events/batch/*", status=404, times=99)

    report = task.attempt(events=orders(25), on_ambiguous="resend")

    assert report["imported"] == 25
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_changed_batches_of_a_green_task_go_out_where_that_is_allowed(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    task.attempt(events=orders(30))
    clear(task, clock, 3 * DAY)

    changed = [*orders(10), *orders(10, 100), *orders(10, 20)]
    report = task.attempt(events=changed, on_source_change="resend")

    assert numbers(emulator) == [*range(30), *range(100, 110)]
    assert (report["records"], report["imported"], report["batches"]) == (30, 30, 3)


@WITH_A_LEDGER
@LATER
def test_another_salt_is_another_import(
    emulator: EmulatorClient, task: Task, clock: Clock, passed: float
) -> None:
    task.attempt(events=orders(25))
    clear(task, clock, passed)

    report = task.attempt(events=orders(25), idempotency_salt="again")

    assert report["imported"] == 25
    assert numbers(emulator) == sorted([*range(25), *range(25)])
    # And each of the two is known.
    for salt in ("", "again"):
        clear(task, clock, 3 * DAY)
        task.attempt(events=orders(25), idempotency_salt=salt)
    assert len(numbers(emulator)) == 50


@WITH_A_LEDGER
@pytest.mark.parametrize("between", [[], [REFUSED_BY_FULLSTORY] * 10], ids=["nothing", "all refused"])
def test_what_was_left_out_or_overwritten_once_is_not_taken_for_missing(
    emulator: EmulatorClient, task: Task, clock: Clock, between: list[dict[str, Any]]
) -> None:
    task.attempt(events=orders(20))
    clear(task, clock, 3 * DAY)
    with suppress(AirflowFailException):
        task.attempt(events=between, on_source_change="resend")
    clear(task, clock, 3 * DAY)

    with suppress(AirflowFailException):
        task.attempt(events=orders(20))

    assert numbers(emulator) == list(range(20))


@WITH_A_LEDGER
def test_a_green_task_counts_what_is_refused_today(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    events = [*orders(20), *[REFUSED_HERE] * 3]
    task.attempt(events=orders(20))
    clear(task, clock, HOUR)

    failure_of(task, operators.FullStoryRecordsRefusedError, events=events)
    clear(task, clock, HOUR)

    assert task.attempt(events=orders(20))["records"] == 20
    assert numbers(emulator) == list(range(20))


# Red tasks.


@WITH_A_LEDGER
@LATER
def test_a_red_task_is_judged_again_with_the_gates_of_today(
    emulator: EmulatorClient, task: Task, clock: Clock, tmp_path: Path, passed: float
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, [*orders(19), REFUSED_BY_FULLSTORY])))
    failure_of(task, operators.FullStoryRecordsRefusedError, events=f"file://{file}")
    clear(task, clock, passed)
    # What was sent is judged, whatever the source gives now.
    file.unlink()

    report = task.attempt(events=f"file://{file}", max_rejected=1)

    assert (report["records"], report["imported"], report["rejected"]) == (20, 19, 1)
    assert len(posts(emulator)) == 2
    assert numbers(emulator) == list(range(19))


@WITH_A_LEDGER
@LATER
def test_a_red_task_stays_red_while_nothing_has_changed(
    emulator: EmulatorClient, task: Task, clock: Clock, passed: float
) -> None:
    events = [*orders(19), REFUSED_BY_FULLSTORY]
    failure_of(task, operators.FullStoryRecordsRefusedError, events=events)
    for _ in range(2):
        clear(task, clock, passed)
        failure_of(task, operators.FullStoryRecordsRefusedError, events=events)

    assert numbers(emulator) == list(range(19))


@WITH_A_LEDGER
@LATER
def test_a_red_task_with_another_mapping_doubles_nothing(
    emulator: EmulatorClient, task: Task, clock: Clock, database: Path, passed: float
) -> None:
    make_warehouse(database, 20)
    wrong = QUERY | {"sql": QUERY["sql"].replace("'u' || number", "nullif('u' || number, 'u7')")}
    failure_of(task, operators.FullStoryRecordsRefusedError, **wrong)
    assert len(numbers(emulator)) == 19
    clear(task, clock, passed)

    message = failure_of(task, FullStorySourceChangedError, **QUERY)

    assert "That import had ended with 19 of 20 records in FullStory" in message
    assert len(numbers(emulator)) == 19


@WITH_A_LEDGER
@LATER
@pytest.mark.parametrize("refused", [REFUSED_HERE, REFUSED_BY_FULLSTORY], ids=["here", "by FullStory"])
def test_an_import_of_which_fullstory_took_nothing_is_sent_once_it_is_right(
    emulator: EmulatorClient, task: Task, clock: Clock, passed: float, refused: dict[str, Any]
) -> None:
    failure_of(task, operators.FullStoryRecordsRefusedError, events=[refused] * 25)
    clear(task, clock, passed)

    report = task.attempt(events=orders(25))

    assert report["imported"] == 25
    clear(task, clock, passed)
    task.attempt(events=orders(25))
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_an_import_of_which_fullstory_took_nothing_is_really_sent_again(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    # What FullStory refuses may be right once something was changed there.
    events = [{**order, "only_fullstory_refuses": True} for order in orders(25)]
    failure_of(task, operators.FullStoryRecordsRefusedError, events=events)
    clear(task, clock, HOUR)
    emulator.forget_rejections()

    assert task.attempt(events=events)["imported"] == 25
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_a_resent_import_that_dies_midway_is_completed(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    failure_of(task, operators.FullStoryRecordsRefusedError, events=[REFUSED_BY_FULLSTORY] * 25)
    clear(task, clock, HOUR)
    with pytest.raises(Crash):
        task.attempt(
            events=orders(25), max_parallel_uploads=1, breaking=Breaking(matches=noting_job(2), is_done=True)
        )

    assert task.attempt(events=orders(25))["imported"] == 25
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
@LATER
def test_an_import_that_broke_midway_goes_on(
    emulator: EmulatorClient, task: Task, clock: Clock, passed: float
) -> None:
    with pytest.raises(ZeroDivisionError):
        task.attempt(events=breaking_source(orders(30), 25, ZeroDivisionError()))
    clear(task, clock, passed)

    assert task.attempt(events=orders(30))["imported"] == 30
    assert numbers(emulator) == list(range(30))


# Without a ledger.


@pytest.mark.parametrize("kept", ["nothing", "store"])
def test_a_clear_whose_ledger_is_gone_is_recognized_for_a_day(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, kept: str
) -> None:
    task = make_task(kept)
    task.attempt(events=orders(25))
    clear(task, clock, HOUR)
    forget_ledger(task)

    assert task.attempt(events=orders(25))["imported"] == 25
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("kept", ["nothing", "store"])
def test_a_clear_whose_ledger_is_gone_doubles_nothing_after_three_days(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, kept: str
) -> None:
    task = make_task(kept)
    task.attempt(events=orders(25))
    clear(task, clock, 3 * DAY)
    forget_ledger(task)

    for _ in range(2):
        message = failure_of(task, FullStoryAmbiguousError, events=orders(25))

    assert "its ledger is gone" in message
    assert "state_uri keeps the ledger" in message
    assert numbers(emulator) == list(range(25))
    # A person has looked, and decides.
    assert task.attempt(events=orders(25), on_ambiguous="resend")["imported"] == 25
    assert numbers(emulator) == sorted([*range(25), *range(25)])


def test_a_retry_that_lost_an_answer_does_not_take_the_day_for_a_new_one(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock
) -> None:
    task = make_task("store")
    task.attempt(events=orders(5))
    clear(task, clock, 23 * HOUR)
    forget_ledger(task)
    with pytest.raises(Crash):
        task.attempt(events=orders(5), breaking=Breaking(matches=noting_job(1)))
    assert posts(emulator)[-1]["replayed"]
    clock.now += 2 * HOUR

    failure_of(task, FullStoryAmbiguousError, events=orders(5))

    assert numbers(emulator) == list(range(5))


def test_a_try_that_failed_before_anything_was_sent_is_no_unknown_outcome(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("store")
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", json.dumps({"conn_type": "fullstory"}))
    failure_of(task, FullStoryInputError, events=orders(5))
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json())
    clear(task, clock, 3 * DAY)

    assert task.attempt(events=orders(5))["imported"] == 5


@WITH_A_LEDGER
@pytest.mark.parametrize(
    "wrong", [{"timeout": -1}, {"sql": "SELECT 1; SELECT 2", "sql_conn_id": "warehouse"}]
)
def test_arguments_that_were_wrong_are_no_unknown_outcome_either(
    emulator: EmulatorClient, task: Task, clock: Clock, wrong: dict[str, Any]
) -> None:
    failure_of(task, FullStoryInputError, **({} if "sql" in wrong else {"events": orders(5)}), **wrong)
    clear(task, clock, 3 * DAY)

    assert task.attempt(events=orders(5))["imported"] == 5


def forget_ledger(task: Task) -> None:
    """Do what Airflow 3.4 does when a task is cleared."""
    if task.store is not None:
        task.store.texts.clear()


def test_a_ledger_in_the_state_folder_is_adopted_by_a_newer_airflow(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    clock: Clock,
    task_state_store: Any,
) -> None:
    task = make_task("state")
    with pytest.raises(Crash):
        task.attempt(events=orders(30), breaking=Breaking(matches=noting_stage("sent")))
    clear(task, clock, 3 * DAY)
    task.store = task_state_store

    assert task.attempt(events=orders(30))["imported"] == 30
    assert numbers(emulator) == list(range(30))


def test_a_ledger_of_airflow_is_adopted_once_there_is_a_state_folder(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, tmp_path: Path
) -> None:
    task = make_task("store")
    with pytest.raises(Crash):
        task.attempt(events=orders(30), breaking=Breaking(matches=noting_stage("sent")))
    clear(task, clock, 3 * DAY)

    assert task.attempt(events=orders(30), state_uri=f"file://{tmp_path}/state")["imported"] == 30
    assert numbers(emulator) == list(range(30))


# Runs that were deleted and made anew.


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_run_that_was_made_anew_reads_its_source_and_doubles_nothing(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, max_parallel_uploads=1, breaking=Breaking(matches=noting_job(1), is_done=True))
    # The rows were wrong: somebody puts them right, and loads the day again.
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    clock.now += HOUR
    task.delete_run()

    report = task.attempt(**QUERY)

    assert report["imported"] == 25
    assert numbers(emulator) == [*range(10), *range(110, 125)]


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_run_that_was_made_anew_over_rows_that_fullstory_has_otherwise_says_so(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, max_parallel_uploads=1, breaking=Breaking(matches=noting_job(1), is_done=True))
    change_warehouse(database, "UPDATE orders SET number = number + 100")
    clock.now += 3 * DAY
    task.delete_run()

    failure_of(task, FullStorySourceChangedError, **QUERY)

    assert numbers(emulator) == list(range(10))


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_finished_run_that_was_made_anew_is_not_judged_from_its_jobs_alone(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, breaking=Breaking(matches=noting_stage("sent"), is_done=True))
    change_warehouse(database, "DROP TABLE orders")
    task.delete_run()

    with pytest.raises(Exception, match="no such table"):
        task.attempt(**QUERY)


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_run_that_was_made_anew_over_other_rows_is_not_judged_from_its_jobs_by_a_later_try(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, breaking=Breaking(matches=noting_stage("sent"), is_done=True))
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    task.delete_run()

    for _ in range(3):
        failure_of(task, FullStorySourceChangedError, **QUERY)

    change_warehouse(database, "UPDATE orders SET number = number - 100 WHERE number >= 110")
    assert task.attempt(**QUERY)["imported"] == 25
    assert len(posts(emulator)) == 3
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_red_run_that_was_made_anew_over_other_rows_is_not_green_once_its_gates_are_wider(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, kept: str
) -> None:
    make_warehouse(database, 20)
    wrong = QUERY | {"sql": QUERY["sql"].replace("'u' || number", "nullif('u' || number, 'u7')")}
    task = make_task(kept)
    failure_of(task, operators.FullStoryRecordsRefusedError, **wrong)
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    task.delete_run()

    for max_rejected in (0, 1):
        message = failure_of(task, FullStorySourceChangedError, **wrong, max_rejected=max_rejected)
        assert "That import had ended with 19 of 20 records in FullStory" in message

    assert len(numbers(emulator)) == 19


@pytest.mark.parametrize("kept", ["state", "folder"])
@pytest.mark.parametrize("is_lost", [False, True], ids=["wrong arguments", "a lost worker"])
def test_a_run_that_was_made_anew_is_one_though_its_first_try_never_began(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    clock: Clock,
    database: Path,
    kept: str,
    *,
    is_lost: bool,
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, max_parallel_uploads=1, breaking=Breaking(matches=noting_job(1), is_done=True))
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    clock.now += HOUR
    task.delete_run()
    if is_lost:
        task.next_context()
    else:
        failure_of(task, FullStoryInputError, **QUERY, timeout=-1)

    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == [*range(10), *range(110, 125)]


# Other connections, other operators, other policies.


@WITH_A_LEDGER
def test_a_connection_that_leads_to_another_organization_is_refused(
    emulator: EmulatorClient, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Crash):
        task.attempt(events=orders(30), max_parallel_uploads=1, breaking=Breaking(matches=noting_job(2)))
    with EmulatorServer(event_quota=10**9, organization="PRODUCTION") as production:
        monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", production.connection_json())

        message = failure_of(task, FullStoryInputError, events=orders(30))

        assert "leads to organization 'PRODUCTION', but earlier tries sent" in message
        assert "Nothing was sent in this try" in message
        assert posts(production) == []
        # As another import, all of it goes there.
        assert task.attempt(events=orders(30), idempotency_salt="production")["imported"] == 30
        assert numbers(production) == list(range(30))


@WITH_A_LEDGER
def test_another_organization_is_fine_while_nothing_was_sent(
    emulator: EmulatorClient, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ZeroDivisionError):
        task.attempt(events=breaking_source(orders(30), 0, ZeroDivisionError()))
    with EmulatorServer(event_quota=10**9, organization="PRODUCTION") as production:
        monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", production.connection_json())

        assert task.attempt(events=orders(30))["imported"] == 30
        assert numbers(production) == list(range(30))


@WITH_A_LEDGER
@pytest.mark.parametrize("start", [0, 100], ids=["equal data", "other data"])
def test_two_operators_in_one_task_are_two_imports(emulator: EmulatorClient, task: Task, start: int) -> None:
    context = task.next_context()
    for task_id, first in (("one", 0), ("two", start)):
        task.operator(events=orders(15, first), task_id=task_id).execute(context)

    assert numbers(emulator) == sorted([*range(15), *range(start, start + 15)])


@WITH_A_LEDGER
def test_an_answer_that_was_lost_before_server_errors_is_not_sent_under_another_key(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.order_fault(**UPLOADS, reset="after")
    emulator.order_fault(**UPLOADS, status=503, times=500)
    with pytest.raises(operators.FullStoryError):
        task.attempt(events=orders(5))
    emulator.forget_faults()

    assert task.attempt(events=orders(5))["imported"] == 5
    assert numbers(emulator) == list(range(5))


@WITH_A_LEDGER
def test_a_job_that_ended_without_counts_is_an_unknown_outcome(emulator: EmulatorClient, task: Task) -> None:
    def create(really: Callable[[], Any], body: bytes) -> Any:
        emulator.configure(fail_jobs=not emulator.jobs())
        return really()

    with creating_imports(create):
        message = failure_of(task, FullStoryAmbiguousError, events=orders(20), max_parallel_uploads=1)

    lost, other = emulator.jobs()
    assert "whether FullStory has their records.\nLook for these records in FullStory" in message
    assert f"\n10 records of the other jobs are in FullStory.\nJobs without counts: {lost['id']}." in message
    assert other["id"] not in message
    assert 'on_ambiguous="resend"' in message
    report = task.attempt(events=orders(20), on_ambiguous="resend")
    assert (report["records"], report["imported"], report["batches"]) == (20, 20, 2)
    assert numbers(emulator) == list(range(20))
    assert len(posts(emulator)) == 3


@WITH_A_LEDGER
def test_nothing_is_posted_before_a_change_of_the_source_is_found(
    emulator: EmulatorClient, task: Task
) -> None:
    def create(really: Callable[[], Any], body: bytes) -> Any:
        # The first batch gets no answer, while the second is taken.
        while b'"number":0}' in bytes(body) and not emulator.jobs():
            pass
        if b'"number":0}' in bytes(body):
            raise FullStoryTransportError("No answer.")
        return really()

    with creating_imports(create), pytest.raises(FullStoryTransportError):
        task.attempt(events=orders(20), max_parallel_uploads=2)
    assert numbers(emulator) == list(range(10, 20))

    failure_of(task, FullStorySourceChangedError, events=[*orders(10), *orders(10, 100)])

    assert len(posts(emulator)) == 1
    assert task.attempt(events=orders(20))["imported"] == 20
    assert numbers(emulator) == list(range(20))


@WITH_A_LEDGER
def test_one_lost_answer_before_an_outage_is_replayed_whatever_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.order_fault(**UPLOADS, reset="after")
    emulator.order_fault(**UPLOADS, status=503, times=500)
    with pytest.raises(operators.FullStoryError):
        task.attempt(events=orders(5), on_ambiguous="resend")
    emulator.forget_faults()

    assert task.attempt(events=orders(5), on_ambiguous="resend")["imported"] == 5
    assert numbers(emulator) == list(range(5))


@WITH_A_LEDGER
def test_a_red_task_is_judged_again_where_unknown_outcomes_are_sent_again(
    emulator: EmulatorClient, task: Task, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, [*orders(19), REFUSED_BY_FULLSTORY])))
    given = {"events": f"file://{file}", "on_ambiguous": "resend"}
    failure_of(task, operators.FullStoryRecordsRefusedError, **given)
    clear(task, clock, 3 * DAY)
    file.unlink()

    assert task.attempt(**given, max_rejected=1)["imported"] == 19


# What is kept.


def test_bodies_are_removed_by_the_last_try_alone(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("folder")
    zombie = task.operator(events=orders(25), wait_for_completion=False)
    context = task.next_context()
    # Airflow takes this try for dead, and begins the next, while it goes on.
    submit = operators.FullStoryImportEventsOperator._submit

    def submit_while_the_next_begins(operator: Any, *arguments: Any) -> Any:
        report = submit(operator, *arguments)
        with pytest.raises(Crash):
            task.attempt(events=orders(25), breaking=Breaking(matches=noting_stage("sent"), is_done=True))
        return report

    with pytest.MonkeyPatch.context() as patched:
        slow = submit_once(submit_while_the_next_begins, submit)
        patched.setattr(operators.FullStoryImportEventsOperator, "_submit", slow)
        zombie.execute(context)

    assert task.is_staged
    assert task.attempt(events=orders(25))["imported"] == 25
    assert not task.is_staged
    assert numbers(emulator) == list(range(25))


def submit_once(first: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter([first])

    def submit(*arguments: Any) -> Any:
        return next(calls, then)(*arguments)

    return submit


def test_state_of_long_ago_is_removed(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock
) -> None:
    start = clock.now
    runs = [make_task("folder", map_index=number) for number in range(4)]

    def work(number: int, day: int) -> None:
        clock.now = start + day * DAY
        runs[number].attempt(events=orders(5, 10 * number))

    for number, day in ((0, 0), (1, 30), (2, 80)):
        work(number, day)
    assert kept_runs(runs) == [0, 1, 2]

    work(1, 100)
    assert kept_runs(runs) == [1, 2]

    # What was worked on since is kept, and has not been forgotten.
    work(3, 150)
    assert kept_runs(runs) == [1, 2, 3]
    work(1, 151)
    assert numbers(emulator) == sorted([*range(5), *range(10, 15), *range(20, 25), *range(30, 35)])


@pytest.mark.parametrize("garbage", ["{", "{}", "[]"])
def test_state_of_long_ago_that_is_damaged_fails_no_import(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, garbage: str
) -> None:
    old, new = make_task("state", map_index=0), make_task("state", map_index=1)
    old.attempt(events=orders(5))
    (old.folder.parent / "ledger" / "history.json").write_text(garbage)
    clock.now += 100 * DAY

    assert new.attempt(events=orders(5, 10))["imported"] == 5
    assert kept_runs([new]) == [1]


def kept_runs(runs: list[Task]) -> list[int]:
    names = {path.name.split(".")[1] for path in runs[0].all_runs}
    return sorted(map(int, names))
