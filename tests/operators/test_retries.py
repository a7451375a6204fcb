"""Whatever happens between the tries of a task, FullStory has each record once, and the report says so."""

from __future__ import annotations

import hashlib
import itertools
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryBadRequestError,
    FullStoryError,
    FullStoryInputError,
    FullStoryServerError,
    FullStorySourceChangedError,
    FullStoryStorageError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.task.state import ImportState
from tests.conftest import refuse_what_is_marked
from tests.tries import (
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
    join_uploads,
    make_warehouse,
    noting_end,
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

HOUR = 3600.0
UPLOADS = {"method": "POST", "path": "/v2/events/batch"}
LOOKS = {"method": "GET", "path": "/v2/events/batch/*"}
IN_BOTH_WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])


pytestmark = pytest.mark.usefixtures("short_waits", "unknown_jobs_are_old")


def crash(task: Task, matches: Callable[[str, dict[str, Any]], bool], **arguments: Any) -> None:
    """Let a try die before the first of some writes to its ledger."""
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=matches), **arguments)


def crash_after_all_were_sent(task: Task, **arguments: Any) -> None:
    """Let a try die as the first look at its jobs is answered: it has noted that all were sent."""
    crash(task, noting_end, **arguments)
    assert task.ledger["import"]["stage"] == "sent"


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


# Other items, other salts.


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
    assert "With the old ones, clearing the task goes on where the last try ended" in other
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


# Less protection.


@pytest.mark.parametrize("durable", [False, True])
def test_without_a_ledger_each_try_posts_all_under_the_same_keys(
    emulator: EmulatorClient, make_task: Callable[..., Task], *, durable: bool
) -> None:
    task = make_task("store" if not durable else "nothing", durable=durable)
    first = task.attempt(events=orders(25), max_parallel_uploads=1)
    again = task.attempt(events=orders(25), max_parallel_uploads=1)

    requests = posts(emulator)
    keys = [request["idempotency_key"] for request in requests]
    assert keys[:3] == keys[3:]
    assert [request["replayed"] for request in requests] == [False] * 3 + [True] * 3
    assert numbers(emulator) == list(range(25))
    assert again == first
    assert not task.store or not task.store.writes


def test_a_state_folder_without_durability_is_refused(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    message = failure_of(make_task("folder"), FullStoryInputError, events=orders(5), durable=False)
    assert "state_uri is given with durable=False" in message
    assert emulator.requests() == []


@pytest.mark.parametrize("policy", ["on_ambiguous", "on_source_change"])
@pytest.mark.parametrize("value", ["send", "", None, True])
def test_a_policy_that_does_not_exist_is_refused(
    emulator: EmulatorClient, task: Task, policy: str, value: Any
) -> None:
    message = failure_of(task, FullStoryInputError, events=orders(5), **{policy: value})
    assert f"{policy} is {value!r}; it must be 'fail' or 'resend'." in message
    assert emulator.requests() == []


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Give what was logged, wherever Airflow's configuration sends it."""
    caplog.set_level("INFO")

    def read() -> str:
        output = capfd.readouterr()
        return caplog.text + output.out + output.err

    return read


@pytest.mark.parametrize(
    ("kept", "arguments", "words"),
    [
        ("store", {}, "State: a ledger in Airflow's task state store."),
        ("state", {}, "State: a ledger in file://"),
        ("both", {}, "State: a ledger in file://"),
        ("store", {"durable": False}, "State: no ledger, since durable=False."),
        (
            "nothing",
            {},
            "State: no ledger, since state_uri is not set and Airflow has a task state store from 3.3 on",
        ),
    ],
    ids=["store", "state", "both", "not durable", "nothing"],
)
def test_the_log_says_what_protects_against_doubles(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    kept: str,
    *,
    arguments: dict[str, Any],
    words: str,
    logged: Callable[[], str],
) -> None:
    make_task(kept).attempt(events=orders(5), **arguments)

    assert words in logged()


# What FullStory answers.


def test_a_key_that_was_used_for_another_body_is_told(emulator: EmulatorClient, task: Task) -> None:
    body = (
        b'{"requests":[{"name":"Order","user":{"uid":"u0"},"properties":{"number":0},'
        b'"schema":{"properties":{"number":"int"}}}]}'
    )
    key = RunIdentity("dag", "run-1", "import").idempotency_key(hashlib.sha256(body).hexdigest(), 0)
    with FullStoryHook() as hook:
        hook.create_import("events", b'{"requests":[{"name":"Other"}]}', key)

    with pytest.raises(FullStoryBadRequestError) as caught:
        task.attempt(events=orders(1))

    assert "this Idempotency-Key was used with another request body" in str(caught.value)
    assert "This was batch 1 (1 record)" in str(caught.value)
    assert len(emulator.events()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 409},
        {"status": 429},
        {"status": 500},
        {"status": 503},
        {"status": 503, "work_done": True},
        {"reset": "before"},
        {"reset": "after"},
    ],
    ids=str,
)
def test_passing_faults_are_ridden_out_within_a_try(
    emulator: EmulatorClient, task: Task, retry_for: Callable[[float], None], fault: dict[str, Any]
) -> None:
    retry_for(30.0)
    emulator.order_fault(**UPLOADS, times=2, **fault)

    report = task.attempt(events=orders(25))

    assert numbers(emulator) == list(range(25))
    assert report["imported"] == 25
    assert len(posts(emulator)) == 5


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 409},
        {"status": 500},
        {"status": 503, "work_done": True},
        {"reset": "before"},
        {"reset": "after"},
    ],
    ids=str,
)
def test_faults_that_outlast_a_try_are_mended_by_the_next(
    emulator: EmulatorClient, task: Task, fault: dict[str, Any]
) -> None:
    emulator.order_fault(**UPLOADS, after=1, times=10_000, **fault)
    with pytest.raises(FullStoryError) as caught:
        task.attempt(events=orders(25))
    assert caught.value.is_ambiguous
    emulator.forget_faults()

    report = task.attempt(events=orders(25))

    assert numbers(emulator) == list(range(25))
    assert report["imported"] == 25
    assert len({request["idempotency_key"] for request in posts(emulator)}) == 3


def test_an_answer_that_fullstory_keeps_repeating_is_got_past_where_that_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.configure(replay_server_errors=True)
    emulator.order_fault(**UPLOADS, status=500)
    for _ in range(2):
        with pytest.raises(FullStoryServerError, match="HTTP 500"):
            task.attempt(events=orders(5))
    assert numbers(emulator) == []

    report = task.attempt(events=orders(5), on_ambiguous="resend")

    assert numbers(emulator) == list(range(5))
    assert report["imported"] == 5


@IN_BOTH_WAYS
@pytest.mark.parametrize("source", ["values", "query"])
def test_jobs_that_fullstory_forgot_are_told_and_nothing_is_sent(
    emulator: EmulatorClient, task: Task, database: Path, source: str, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    arguments = QUERY if source == "query" else {"events": orders(25)}
    crash_after_all_were_sent(task, **arguments)
    emulator.reset()

    message = failure_of(task, FullStoryAmbiguousError, **arguments, deferrable=deferrable)

    assert posts(emulator) == []
    assert "No such job in this organization" in message
    assert 'set on_ambiguous="resend"' in message


@IN_BOTH_WAYS
@pytest.mark.parametrize("source", ["values", "query"])
def test_jobs_that_fullstory_forgot_are_sent_again_where_that_is_allowed(
    emulator: EmulatorClient, task: Task, database: Path, source: str, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    arguments = QUERY if source == "query" else {"events": orders(25)}
    crash_after_all_were_sent(task, **arguments)
    emulator.reset()

    report = task.attempt(**arguments, deferrable=deferrable, on_ambiguous="resend")

    assert numbers(emulator) == list(range(25))
    assert (report["imported"], len(posts(emulator))) == (25, 3)
    assert sorted(report["job_ids"]) == sorted(job["id"] for job in emulator.jobs())


def test_only_the_job_that_fullstory_forgot_is_sent_again(emulator: EmulatorClient, task: Task) -> None:
    crash_after_all_were_sent(task, events=orders(30))
    vanished = task.entry(2)
    job_id = vanished["job_id"].replace("/", "%2F").replace("=", "%3D").replace("+", "%2B")
    emulator.order_fault(method="GET", path=f"/v2/events/batch/{job_id}", status=404, times=9)

    report = task.attempt(events=orders(30), on_ambiguous="resend")

    [again] = posts(emulator)[3:]
    assert again["idempotency_key"] != vanished["idempotency_key"]
    assert len(posts(emulator)) == 4
    assert report["imported"] == 30
    assert numbers(emulator) == sorted([*range(30), *range(10, 20)])


def test_halves_that_fullstory_forgot_are_sent_again_where_that_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.configure(max_body_bytes=400)
    crash_after_all_were_sent(task, events=orders(25))
    emulator.reset()
    emulator.configure(max_body_bytes=400)

    report = task.attempt(events=orders(25), on_ambiguous="resend")

    assert numbers(emulator) == list(range(25))
    assert report["imported"] == 25


# Time passes.


def test_a_batch_whose_day_ends_while_it_waits_for_room_is_not_sent_twice(
    emulator: EmulatorClient, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    emulator.configure(processing_seconds=25 * HOUR)
    arguments = {"events": orders(20), "max_parallel_uploads": 1, "max_outstanding_records": 20}
    crash(task, noting_job(2), **arguments)
    clock.now += 23 * HOUR
    look = FullStoryHook.get_job_status

    def look_three_hours_later(hook: FullStoryHook, resource: str, job_id: str) -> Any:
        clock.now += 3 * HOUR
        return look(hook, resource, job_id)

    monkeypatch.setattr(FullStoryHook, "get_job_status", look_three_hours_later)
    # The first batch is still being processed, and there is room for one.
    with suppress(AirflowFailException):
        task.attempt(**arguments | {"max_outstanding_records": 10}, wait_for_completion=False)

    assert numbers(emulator) == list(range(20))
