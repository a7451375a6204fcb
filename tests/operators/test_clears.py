"""A clear is a try like any other: whenever it comes, FullStory has each event once, and no try is blind."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.emulator.embedded import EmulatorServer
from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
)
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
    clear_later,
    failure_of,
    make_warehouse,
    noting_job,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

HOUR = 3600.0
WITH_A_LEDGER = pytest.mark.parametrize("task", ["store", "state", "folder"], indirect=True)
LATER = pytest.mark.parametrize("passed", [HOUR, 3 * DAY], ids=["an hour", "three days"])


pytestmark = pytest.mark.usefixtures("short_waits")


# Green tasks.


@WITH_A_LEDGER
@LATER
@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])
def test_a_green_task_sends_nothing_that_fullstory_has(
    emulator: EmulatorClient, task: Task, clock: Clock, passed: float, *, deferrable: bool
) -> None:
    first = task.attempt(events=orders(25), deferrable=deferrable)
    clear_later(task, clock, passed)

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
    clear_later(task, clock, passed)
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
    clear_later(task, clock, 3 * DAY)
    make_warehouse(database, 5, start=20)

    report = task.attempt(**QUERY)

    assert (report["records"], report["imported"], report["batches"]) == (25, 25, 3)
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_a_green_task_whose_jobs_fullstory_has_forgotten_doubles_nothing(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    task.attempt(events=orders(25))
    clear_later(task, clock, 1000 * DAY)
    emulator.order_fault(method="GET", path="/v2/events/batch/*", status=404, times=99)

    report = task.attempt(events=orders(25), on_ambiguous="resend")

    assert report["imported"] == 25
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_changed_batches_of_a_green_task_go_out_where_that_is_allowed(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    task.attempt(events=orders(30))
    clear_later(task, clock, 3 * DAY)

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
    clear_later(task, clock, passed)

    report = task.attempt(events=orders(25), idempotency_salt="again")

    assert report["imported"] == 25
    assert numbers(emulator) == sorted([*range(25), *range(25)])
    # And each of the two is known.
    for salt in ("", "again"):
        clear_later(task, clock, 3 * DAY)
        task.attempt(events=orders(25), idempotency_salt=salt)
    assert len(numbers(emulator)) == 50


@WITH_A_LEDGER
@pytest.mark.parametrize("between", [[], [REFUSED_BY_FULLSTORY] * 10], ids=["nothing", "all refused"])
def test_what_was_left_out_or_overwritten_once_is_not_taken_for_missing(
    emulator: EmulatorClient, task: Task, clock: Clock, between: list[dict[str, Any]]
) -> None:
    task.attempt(events=orders(20))
    clear_later(task, clock, 3 * DAY)
    with suppress(AirflowFailException):
        task.attempt(events=between, on_source_change="resend")
    clear_later(task, clock, 3 * DAY)

    with suppress(AirflowFailException):
        task.attempt(events=orders(20))

    assert numbers(emulator) == list(range(20))


@WITH_A_LEDGER
def test_a_green_task_counts_what_is_refused_today(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    events = [*orders(20), *[REFUSED_HERE] * 3]
    task.attempt(events=orders(20))
    clear_later(task, clock, HOUR)

    failure_of(task, FullStoryRecordsRefusedError, events=events)
    clear_later(task, clock, HOUR)

    assert task.attempt(events=orders(20))["records"] == 20
    assert numbers(emulator) == list(range(20))


# Red tasks.


@WITH_A_LEDGER
@LATER
def test_a_red_task_is_checked_again_with_the_gates_of_today(
    emulator: EmulatorClient, task: Task, clock: Clock, tmp_path: Path, passed: float
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, [*orders(19), REFUSED_BY_FULLSTORY])))
    failure_of(task, FullStoryRecordsRefusedError, events=f"file://{file}")
    clear_later(task, clock, passed)
    # The sent records are checked, whatever the source gives now.
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
    failure_of(task, FullStoryRecordsRefusedError, events=events)
    for _ in range(2):
        clear_later(task, clock, passed)
        failure_of(task, FullStoryRecordsRefusedError, events=events)

    assert numbers(emulator) == list(range(19))


@WITH_A_LEDGER
@LATER
def test_a_red_task_with_another_mapping_doubles_nothing(
    emulator: EmulatorClient, task: Task, clock: Clock, database: Path, passed: float
) -> None:
    make_warehouse(database, 20)
    wrong = QUERY | {"sql": QUERY["sql"].replace("'u' || number", "nullif('u' || number, 'u7')")}
    failure_of(task, FullStoryRecordsRefusedError, **wrong)
    assert len(numbers(emulator)) == 19
    clear_later(task, clock, passed)

    message = failure_of(task, FullStorySourceChangedError, **QUERY)

    assert "That import had ended with 19 of 20 records in FullStory" in message
    assert len(numbers(emulator)) == 19


@WITH_A_LEDGER
@LATER
@pytest.mark.parametrize("refused", [REFUSED_HERE, REFUSED_BY_FULLSTORY], ids=["here", "by FullStory"])
def test_an_import_of_which_fullstory_took_nothing_is_sent_once_it_is_right(
    emulator: EmulatorClient, task: Task, clock: Clock, passed: float, refused: dict[str, Any]
) -> None:
    failure_of(task, FullStoryRecordsRefusedError, events=[refused] * 25)
    clear_later(task, clock, passed)

    report = task.attempt(events=orders(25))

    assert report["imported"] == 25
    clear_later(task, clock, passed)
    task.attempt(events=orders(25))
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_an_import_of_which_fullstory_took_nothing_is_really_sent_again(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    # What FullStory refuses may be right once something was changed there.
    events = [{**order, "only_fullstory_refuses": True} for order in orders(25)]
    failure_of(task, FullStoryRecordsRefusedError, events=events)
    clear_later(task, clock, HOUR)
    emulator.forget_rejections()

    assert task.attempt(events=events)["imported"] == 25
    assert numbers(emulator) == list(range(25))


@WITH_A_LEDGER
def test_a_resent_import_that_dies_midway_is_completed(
    emulator: EmulatorClient, task: Task, clock: Clock
) -> None:
    failure_of(task, FullStoryRecordsRefusedError, events=[REFUSED_BY_FULLSTORY] * 25)
    clear_later(task, clock, HOUR)
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
    clear_later(task, clock, passed)

    assert task.attempt(events=orders(30))["imported"] == 30
    assert numbers(emulator) == list(range(30))


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
