"""Whatever happens between the tries of a task, FullStory has each record once, and the report says so."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fullstory.exceptions import (
    FullStoryStorageError,
)
from tests.conftest import refuse_what_is_marked
from tests.tries import (
    QUERY,
    REFUSED_BY_FULLSTORY,
    REFUSED_HERE,
    Breaking,
    Crash,
    Task,
    breaking_source,
    change_warehouse,
    crash,
    crash_after_all_were_sent,
    creating_imports,
    make_warehouse,
    noting_job,
    noting_stage,
    numbers,
    orders,
    posts,
    without_jobs,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

IN_BOTH_WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])


pytestmark = pytest.mark.usefixtures("short_waits", "unknown_jobs_are_old")


def undisturbed(emulator: EmulatorClient, task: Task, **arguments: Any) -> dict[str, Any]:
    """Return the report, or the one of the failure, of a run in which nothing goes wrong."""
    other = Task(None, None, map_index=7, **task.arguments | {"stage_batches": False})
    try:
        report = other.attempt(**arguments)
    except AirflowFailException:
        report = other.context["ti"].xcoms["return_value"]
    emulator.reset()
    refuse_what_is_marked(emulator)
    return report


# All were sent.


@IN_BOTH_WAYS
def test_a_try_after_all_was_sent_posts_nothing_and_gives_the_report_of_an_undisturbed_run(
    emulator: EmulatorClient, task: Task, *, deferrable: bool
) -> None:
    expected = undisturbed(emulator, task, events=orders(25))
    emulator.configure(processing_seconds=0.1)
    with pytest.raises(Crash):
        task.attempt(
            events=orders(25),
            deferrable=False,
            max_parallel_uploads=1,
            breaking=Breaking(matches=noting_stage("succeeded")),
        )
    sent = emulator.jobs()

    report = task.attempt(events=orders(25), deferrable=deferrable)

    assert len(posts(emulator)) == 3
    assert without_jobs(report) == without_jobs(expected)
    assert report["job_ids"] == [job["id"] for job in sent]


def test_a_try_after_a_deferral_that_ended_badly_waits_for_the_same_jobs(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(TaskDeferred):
        task.operator(events=orders(25), deferrable=True).execute(task.next_context())
    emulator.advance_clock(3600)

    report = task.attempt(events=orders(25), deferrable=True)

    assert len(posts(emulator)) == 3
    assert report["imported"] == 25
    assert numbers(emulator) == list(range(25))


@IN_BOTH_WAYS
def test_the_database_is_not_asked_again_after_all_was_sent(
    emulator: EmulatorClient, task: Task, database: Path, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    expected = undisturbed(emulator, task, **QUERY)
    crash_after_all_were_sent(task, **QUERY, deferrable=deferrable)
    change_warehouse(database, "DROP TABLE orders")

    report = task.attempt(**QUERY, deferrable=deferrable)

    assert len(posts(emulator)) == 3
    assert without_jobs(report) == without_jobs(expected)
    assert numbers(emulator) == list(range(25))


def test_a_file_is_not_read_again_after_all_was_sent(
    emulator: EmulatorClient, task: Task, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, orders(25))))
    expected = undisturbed(emulator, task, events=f"file://{file}")
    crash_after_all_were_sent(task, events=f"file://{file}")
    file.unlink()

    report = task.attempt(events=f"file://{file}")

    assert len(posts(emulator)) == 3
    assert without_jobs(report) == without_jobs(expected)


@IN_BOTH_WAYS
@pytest.mark.parametrize("refused", [REFUSED_HERE, REFUSED_BY_FULLSTORY], ids=["here", "by FullStory"])
def test_refused_records_are_counted_in_the_try_after_all_was_sent(
    emulator: EmulatorClient,
    task: Task,
    tmp_path: Path,
    refused: dict[str, Any],
    *,
    deferrable: bool,
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, [*orders(12), refused, *orders(13, 12)])))
    arguments = {"events": f"file://{file}", "deferrable": deferrable}
    expected = undisturbed(emulator, task, **arguments)
    crash_after_all_were_sent(task, **arguments)
    file.unlink()

    with pytest.raises(AirflowFailException, match="1 of 26 records is not in FullStory"):
        task.attempt(**arguments)

    report = task.context["ti"].xcoms["return_value"]
    assert without_jobs(report) == without_jobs(expected)
    assert report["records"] == 26
    assert len(posts(emulator)) == 3
    assert numbers(emulator) == list(range(25))


def test_halves_of_a_batch_count_in_the_try_after_all_was_sent(
    emulator: EmulatorClient, task: Task, database: Path
) -> None:
    make_warehouse(database, 25)
    emulator.configure(max_body_bytes=400)
    crash_after_all_were_sent(task, **QUERY)
    sent, accepted = len(posts(emulator)), emulator.jobs()
    assert len(accepted) > 3
    change_warehouse(database, "DROP TABLE orders")

    report = task.attempt(**QUERY)

    assert len(posts(emulator)) == sent
    assert sorted(report["job_ids"]) == sorted(job["id"] for job in accepted)
    assert (report["records"], report["imported"], report["batches"]) == (25, 25, len(accepted))
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("lost", range(1, 4))
def test_equal_batches_of_one_run_stay_apart(emulator: EmulatorClient, task: Task, lost: int) -> None:
    events = orders(1) * 30
    crash(task, noting_job(lost), events=events, max_parallel_uploads=1)

    report = task.attempt(events=events)

    assert len(emulator.events()) == 30
    assert (report["imported"], report["batches"]) == (30, 3)
    assert len(set(report["job_ids"])) == 3


@pytest.mark.parametrize("lost", range(1, 4))
def test_equal_batches_are_not_sent_again_where_one_of_them_has_no_job(
    emulator: EmulatorClient, task: Task, lost: int
) -> None:
    events = orders(1) * 30
    crash(task, noting_stage("sent"), events=events)
    before = len(posts(emulator))
    task.edit(lost, job_id=None)

    report = task.attempt(events=events)

    [request] = posts(emulator)[before:]
    assert request["replayed"]
    assert (report["imported"], len(set(report["job_ids"]))) == (30, 3)


# Some were sent.


@pytest.mark.parametrize("is_answered", [False, True], ids=["before the POST", "after the POST"])
@pytest.mark.parametrize("error", [Crash, RuntimeError])
def test_a_try_that_dies_in_any_upload_is_completed_by_the_next(
    emulator: EmulatorClient,
    task: Task,
    error: type[BaseException],
    *,
    is_answered: bool,
) -> None:
    for number in (1, 3):
        emulator.reset()
        task = another(task)
        with (
            creating_imports(dying_at(number, error, is_answered=is_answered)),
            pytest.raises(error),
        ):
            task.attempt(events=orders(40), max_parallel_uploads=1)

        report = task.attempt(events=orders(40))

        assert numbers(emulator) == list(range(40))
        assert (report["imported"], report["batches"]) == (40, 4)
        assert len([request for request in posts(emulator) if not request["replayed"]]) == 4


def dying_at(number: int, error: type[BaseException], *, is_answered: bool) -> Callable[..., Any]:
    """Return an upload that breaks at one batch and all that follow."""
    count = itertools.count(1)

    def create(really: Callable[[], Any], _: bytes) -> Any:
        if next(count) < number:
            return really()
        if is_answered:
            really()
        raise error

    return create


def another(task: Task) -> Task:
    """Return a task like this one of which nothing is known."""
    if task.store is not None:
        task.store.texts.clear()
        task.store.writes.clear()
    return Task(task.store, task.state_uri and f"{task.state_uri}-", **task.arguments)


@pytest.mark.parametrize("after", [0, 1, 9, 10, 15, 25, 29])
def test_a_source_that_breaks_midway_is_completed_by_the_next_try(
    emulator: EmulatorClient, task: Task, after: int
) -> None:
    with pytest.raises(ZeroDivisionError):
        task.attempt(events=breaking_source(orders(30), after, ZeroDivisionError()))

    report = task.attempt(events=orders(30))

    assert numbers(emulator) == list(range(30))
    assert report["imported"] == 30
    assert len(posts(emulator)) == 3


@pytest.mark.parametrize(
    ("kept", "error", "is_done"),
    [
        ("store", Crash, False),
        ("store", Crash, True),
        ("store", OSError, False),
        ("store", OSError, True),
        ("folder", Crash, False),
        ("folder", Crash, True),
        ("both", Crash, False),
    ],
)
def test_a_try_that_dies_at_any_write_is_completed_by_the_next(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    kept: str,
    error: type[BaseException],
    *,
    is_done: bool,
) -> None:
    task, events = make_task(kept), orders(15)
    for at in itertools.count(1):
        emulator.reset()
        task = another(task)
        try:
            task.attempt(events=events, breaking=Breaking(error, at=at, is_done=is_done))
        except (Crash, OSError, FullStoryStorageError):
            report = task.attempt(events=events)
        else:
            break

        assert numbers(emulator) == list(range(15)), f"write {at}"
        assert (report["records"], report["imported"], report["batches"]) == (15, 15, 2)
        assert len({request["idempotency_key"] for request in posts(emulator)}) == 2
    # The run twice, the import, its organization, two batches entered and accepted, all sent, ended; the note
    # of the day, two bodies and a manifest.
    assert at - 1 == 10 + 4 * (kept != "store")


@pytest.mark.parametrize("is_done", [False, True], ids=["lost", "done"])
def test_a_try_that_dies_at_any_write_while_a_batch_is_halved_is_completed_by_the_next(
    emulator: EmulatorClient, make_task: Callable[..., Task], *, is_done: bool
) -> None:
    task = make_task("store")
    for at in itertools.count(1):
        emulator.reset()
        emulator.configure(max_body_bytes=500)
        task = another(task)
        try:
            task.attempt(events=orders(8), breaking=Breaking(at=at, is_done=is_done))
        except Crash:
            report = task.attempt(events=orders(8))
        else:
            break

        assert numbers(emulator) == list(range(8)), f"write {at}"
        assert (report["records"], report["imported"], report["batches"]) == (8, 8, 2)
        assert len(set(report["job_ids"])) == 2
    # The run twice, the import, its organization, the batch entered and found too large, two halves entered
    # and accepted, all sent, ended.
    assert at - 1 == 12


def test_two_tries_in_a_row_may_die(emulator: EmulatorClient, task: Task) -> None:
    for at in range(1, 12):
        try:
            task.attempt(events=orders(40), max_parallel_uploads=2, breaking=Breaking(at=at))
        except Crash:
            continue

    report = task.attempt(events=orders(40))

    assert numbers(emulator) == list(range(40))
    assert report["imported"] == 40


# All was finished.


def test_an_unfinished_import_that_is_cleared_goes_on(emulator: EmulatorClient, task: Task) -> None:
    crash(task, noting_job(2), events=orders(30), max_parallel_uploads=1)
    task.clear()

    report = task.attempt(events=orders(30))

    assert numbers(emulator) == list(range(30))
    assert report["imported"] == 30
    assert len({request["idempotency_key"] for request in posts(emulator)}) == 3


@IN_BOTH_WAYS
@pytest.mark.parametrize("source", ["values", "query"])
def test_a_try_that_dies_after_the_end_was_noted_gives_the_same_report(
    emulator: EmulatorClient, task: Task, database: Path, source: str, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    arguments = QUERY if source == "query" else {"events": orders(25)}
    breaking = Breaking(matches=noting_stage("succeeded"), is_done=True)
    with pytest.raises(Crash):
        task.attempt(**arguments, deferrable=deferrable, max_parallel_uploads=1, breaking=breaking)
    sent, jobs = len(posts(emulator)), [job["id"] for job in emulator.jobs()]
    # What became of the jobs was noted: FullStory need not tell it again.
    emulator.reset()

    report = task.attempt(**arguments, deferrable=deferrable)

    assert sent == 3
    assert [request["path"] for request in emulator.requests()] == ["/me"]
    assert report["job_ids"] == jobs
    assert (report["records"], report["imported"], report["batches"]) == (25, 25, 3)


def test_a_verdict_is_the_same_in_the_try_after_it_was_noted(emulator: EmulatorClient, task: Task) -> None:
    breaking = Breaking(matches=noting_stage("ended"), is_done=True)
    events = [*orders(20), REFUSED_BY_FULLSTORY, REFUSED_HERE]
    with pytest.raises(Crash):
        task.attempt(events=events, breaking=breaking)
    sent = len(posts(emulator))

    with pytest.raises(
        AirflowFailException, match=r"2 of 22 records are not in FullStory\.(?s:.*)\n1 invalid, never sent"
    ):
        task.attempt(events=events)

    assert len(posts(emulator)) == sent
    assert sum(task.context["ti"].xcoms["return_value"]["codes"].values()) == 2


def test_a_task_that_does_not_wait_is_not_sent_again_after_it_ended(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.configure(processing_seconds=3600)
    breaking = Breaking(matches=noting_stage("succeeded"), is_done=True)
    with pytest.raises(Crash):
        task.attempt(events=orders(25), wait_for_completion=False, breaking=breaking)

    report = task.attempt(events=orders(25), wait_for_completion=False)

    assert len(posts(emulator)) == 3
    assert (report["imported"], report["batches"], len(report["job_ids"])) == (None, 3, 3)


@pytest.mark.parametrize("stage", ["sent", "succeeded"])
def test_an_import_of_nothing_looks_again_in_the_next_try(
    emulator: EmulatorClient, task: Task, database: Path, stage: str
) -> None:
    make_warehouse(database, 0)
    breaking = Breaking(matches=noting_stage(stage), is_done=True)
    with pytest.raises(Crash):
        task.attempt(**QUERY, breaking=breaking)
    make_warehouse(database, 5)

    report = task.attempt(**QUERY)

    assert (report["records"], report["imported"]) == (5, 5)
