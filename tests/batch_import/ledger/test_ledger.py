"""Each row of the ledger's table: what a try does about a batch, given what the tries before have noted."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryBodyTooLargeError,
    FullStoryLedgerError,
    FullStorySourceChangedError,
    FullStoryStorageError,
    FullStoryTransportError,
)
from tests.tries import (
    DAY,
    REFUSED_HERE,
    Breaking,
    Crash,
    creating_imports,
    entering,
    failure_of,
    noting_job,
    noting_stage,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.conftest import FakeTaskStateStore
    from tests.tries import Task

IN_ALL_PLACES = pytest.mark.parametrize("task", ["store", "state", "folder", "both"], indirect=True)
UPLOADS = {"method": "POST", "path": "/v2/events/batch"}


pytestmark = pytest.mark.usefixtures("short_waits")


def lose_the_job(task: Task, **arguments: Any) -> None:
    """Let a try die between FullStory's answer and the note of the job."""
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_job(1)), **arguments)
    assert "job_id" not in task.entry(1)


def crash_after_all_were_sent(task: Task, **arguments: Any) -> None:
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_stage("sent")), **arguments)


@IN_ALL_PLACES
def test_a_batch_that_is_not_in_the_ledger_is_entered_and_sent(emulator: EmulatorClient, task: Task) -> None:
    before = time.time()

    # A record that is refused keeps the folder.
    with pytest.raises(AirflowFailException, match="1 of 26 records is not in FullStory"):
        task.attempt(events=[*orders(25), REFUSED_HERE])

    assert numbers(emulator) == list(range(25))
    jobs = {job["id"]: job for job in emulator.jobs()}
    digests = {request["idempotency_key"]: request["body_sha256"] for request in posts(emulator)}
    assert len(posts(emulator)) == 3
    for name, job_id in enumerate(jobs_in_order(emulator), start=1):
        entry = task.entry(name)
        assert (entry["job_id"], entry["records"]) == (job_id, jobs[job_id]["records"])
        assert entry["idempotency_key"] == jobs[job_id]["idempotency_key"]
        assert entry["digest"] == digests[entry["idempotency_key"]]
        assert before <= entry["at"] <= time.time()


def jobs_in_order(emulator: EmulatorClient) -> list[str]:
    """Return the jobs in the order of what they hold."""
    events = sorted(emulator.events(), key=lambda event: event["event"]["properties"]["number"])
    return list(dict.fromkeys(event["job_id"] for event in events))


@IN_ALL_PLACES
def test_a_batch_whose_job_was_lost_is_sent_under_the_same_key_and_replayed(
    emulator: EmulatorClient, task: Task
) -> None:
    lose_the_job(task, events=orders(5))
    [first] = posts(emulator)

    report = task.attempt(events=orders(5))

    [_, again] = posts(emulator)
    assert (again["idempotency_key"], again["body_sha256"]) == (
        first["idempotency_key"],
        first["body_sha256"],
    )
    assert again["replayed"]
    assert report["job_ids"] == [emulator.jobs()[0]["id"]]
    assert numbers(emulator) == list(range(5))


@IN_ALL_PLACES
def test_a_batch_that_was_entered_and_never_posted_is_sent(emulator: EmulatorClient, task: Task) -> None:
    with pytest.raises(Crash):
        task.attempt(events=orders(5), breaking=Breaking(matches=entering(1), is_done=True))
    assert task.entry(1)["records"] == 5
    assert posts(emulator) == []

    task.attempt(events=orders(5))

    assert numbers(emulator) == list(range(5))


@IN_ALL_PLACES
@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])
def test_a_batch_whose_job_was_lost_a_day_ago_fails_the_task_and_is_not_sent(
    emulator: EmulatorClient, task: Task, *, deferrable: bool
) -> None:
    lose_the_job(task, events=orders(5))
    task.edit(1, at=task.entry(1)["at"] - DAY)
    emulator.advance_clock(DAY)

    message = failure_of(task, FullStoryAmbiguousError, events=orders(5), deferrable=deferrable)

    assert len(posts(emulator)) == 1
    assert numbers(emulator) == list(range(5))
    assert "Batch 1 (5 records) was sent at " in message
    assert message.startswith("It is unknown whether FullStory has batch 1, and it was not sent again.\n")
    assert 'on_ambiguous="resend"' in message
    # Nothing of it is forgotten, so the next try fails as well.
    failure_of(task, FullStoryAmbiguousError, events=orders(5), deferrable=deferrable)
    assert len(posts(emulator)) == 1


@IN_ALL_PLACES
def test_a_batch_whose_job_was_lost_a_day_ago_really_doubles_where_that_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    lose_the_job(task, events=orders(5))
    task.edit(1, at=task.entry(1)["at"] - DAY)
    emulator.advance_clock(DAY)

    report = task.attempt(events=orders(5), on_ambiguous="resend")

    assert numbers(emulator) == sorted([*range(5), *range(5)])
    assert report["imported"] == 5
    assert report["job_ids"] == [emulator.jobs()[1]["id"]]


def test_only_the_batch_that_has_an_unknown_outcome_is_sent_again(
    emulator: EmulatorClient, task: Task
) -> None:
    with pytest.raises(Crash):
        task.attempt(events=orders(30), max_parallel_uploads=1, breaking=Breaking(matches=noting_job(2)))
    task.edit(2, at=task.entry(2)["at"] - DAY)
    sent = len(posts(emulator))

    failure_of(task, FullStoryAmbiguousError, events=orders(30))
    assert len(posts(emulator)) == sent

    emulator.advance_clock(DAY)
    report = task.attempt(events=orders(30), on_ambiguous="resend")
    assert numbers(emulator) == sorted([*range(30), *range(10, 20)])
    assert report["imported"] == 30


@pytest.mark.parametrize("seconds_left", [-1.0, 60.0])
def test_the_day_ends_a_quarter_of_an_hour_early(
    emulator: EmulatorClient, task: Task, seconds_left: float
) -> None:
    lose_the_job(task, events=orders(5))
    task.edit(1, at=time.time() - protocol.IDEMPOTENCY_SECONDS + seconds_left)

    if seconds_left < 0:
        failure_of(task, FullStoryAmbiguousError, events=orders(5))
        assert len(posts(emulator)) == 1
    else:
        task.attempt(events=orders(5))
        assert len(posts(emulator)) == 2
    assert protocol.IDEMPOTENCY_SECONDS == DAY - 15 * 60
    assert numbers(emulator) == list(range(5))


def test_the_clock_of_a_batch_starts_when_it_was_first_sent_not_when_it_was_sent_again(
    emulator: EmulatorClient, task: Task
) -> None:
    lose_the_job(task, events=orders(5))
    task.edit(1, at=task.entry(1)["at"] - 20 * 3600)
    first = task.entry(1)["at"]
    # The second try loses the answer as well.
    emulator.order_fault(**UPLOADS, reset="after", times=99)
    with pytest.raises(FullStoryTransportError):
        task.attempt(events=orders(5))
    emulator.forget_faults()

    assert task.entry(1)["at"] == first


@IN_ALL_PLACES
def test_a_batch_with_a_job_is_not_sent_again(emulator: EmulatorClient, task: Task) -> None:
    crash_after_all_were_sent(task, events=orders(25))
    assert len(posts(emulator)) == 3

    report = task.attempt(events=orders(25))

    assert len(posts(emulator)) == 3
    assert report["job_ids"] == jobs_in_order(emulator)
    assert report["imported"] == 25


@pytest.mark.parametrize(
    ("changed", "batch"),
    [
        ([{**orders(1)[0], "number": 100}, *orders(24, 1)], "1"),
        ([*orders(24), {**orders(1)[0], "number": 100}], "3"),
        (list(reversed(orders(25))), "1"),
        (orders(24, 1), "1"),
        (orders(24), "3"),
        (orders(26), "3"),
    ],
    ids=["first", "last", "order", "first missing", "last missing", "one more"],
)
def test_a_source_that_changed_fails_the_task_and_nothing_is_sent(
    emulator: EmulatorClient,
    task: Task,
    changed: list[dict[str, Any]],
    batch: str,
) -> None:
    crash_after_all_were_sent(task, events=orders(25))

    message = failure_of(task, FullStorySourceChangedError, events=changed)

    assert len(posts(emulator)) == 3
    assert f"Batch {batch} is not the one that an earlier try sent in its place" in message
    assert f"as job {task.entry(batch)['job_id']} " in message
    assert "Its records or their order changed" in message
    assert 'on_source_change="resend"' in message
    # The ledger still knows what the first try has sent.
    assert task.attempt(events=orders(25))["imported"] == 25
    assert len(posts(emulator)) == 3


def test_fewer_batches_than_were_sent_fail_the_task(emulator: EmulatorClient, task: Task) -> None:
    crash_after_all_were_sent(task, events=orders(30))

    message = failure_of(task, FullStorySourceChangedError, events=orders(20))

    assert len(posts(emulator)) == 3
    assert "The source gives 2 batches, fewer than an earlier try has sent: batch 3\n" in message


def test_no_batches_at_all_fail_the_task_where_some_were_sent(emulator: EmulatorClient, task: Task) -> None:
    crash_after_all_were_sent(task, events=orders(30))

    message = failure_of(task, FullStorySourceChangedError, events=[])

    assert "The source gives 0 batches, fewer than an earlier try has sent: batch 1\n" in message


def test_more_batches_than_were_sent_send_the_rest(emulator: EmulatorClient, task: Task) -> None:
    crash_after_all_were_sent(task, events=orders(20))

    report = task.attempt(events=orders(40))

    assert len(posts(emulator)) == 4
    assert numbers(emulator) == list(range(40))
    assert (report["records"], report["imported"], report["batches"]) == (40, 40, 4)


@pytest.mark.parametrize(
    "arguments",
    [{"batch_size": 5}, {"shared": {"page_properties": {"a": 1}}}, {"schema": {"number": "real"}}],
    ids=str,
)
def test_other_arguments_count_as_a_source_that_changed(
    emulator: EmulatorClient, task: Task, arguments: dict[str, Any]
) -> None:
    crash_after_all_were_sent(task, events=orders(30))

    message = failure_of(task, FullStorySourceChangedError, events=orders(30), **arguments)

    assert len(posts(emulator)) == 3
    assert "mapping" in message
    assert "batch_size" in message


def test_an_upgrade_of_this_package_is_named_where_the_batches_differ(
    emulator: EmulatorClient, task: Task
) -> None:
    crash_after_all_were_sent(task, events=orders(30))
    task.put("import", task.ledger["import"] | {"version": "0.0.1"})

    message = failure_of(task, FullStorySourceChangedError, events=orders(29))

    assert "this package was upgraded, from 0.0.1 to " in message


@IN_ALL_PLACES
def test_changed_batches_alone_are_sent_where_that_is_allowed(emulator: EmulatorClient, task: Task) -> None:
    crash_after_all_were_sent(task, events=orders(30))
    changed = [*orders(10), *orders(10, 100), *orders(10, 20)]

    report = task.attempt(events=changed, on_source_change="resend")

    assert len(posts(emulator)) == 4
    assert numbers(emulator) == [*range(30), *range(100, 110)]
    assert (report["records"], report["imported"], report["batches"]) == (30, 30, 3)
    assert len(set(report["job_ids"])) == 3


def test_batches_that_only_changed_places_are_not_doubled_even_where_that_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    crash_after_all_were_sent(task, events=orders(30))

    report = task.attempt(events=[*orders(10, 20), *orders(20)], on_source_change="resend")

    assert numbers(emulator) == list(range(30))
    assert report["imported"] == 30


def test_fewer_batches_are_an_import_of_their_own_where_that_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    crash_after_all_were_sent(task, events=orders(30))

    report = task.attempt(events=orders(20), on_source_change="resend")

    assert len(posts(emulator)) == 3
    assert (report["imported"], report["batches"]) == (20, 2)


def test_a_change_of_what_was_not_sent_yet_is_sent_as_it_is(emulator: EmulatorClient, task: Task) -> None:
    breaking = Breaking(matches=noting_job(1), is_done=True)
    with pytest.raises(Crash):
        task.attempt(events=orders(30), max_parallel_uploads=1, breaking=breaking)
    assert numbers(emulator) == list(range(10))

    task.attempt(events=[*orders(10), *orders(20, 100)])

    assert numbers(emulator) == [*range(10), *range(100, 120)]


def test_a_batch_that_fullstory_certainly_did_not_take_may_change(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.order_fault(**UPLOADS, status=400)
    with pytest.raises(FullStoryBadRequestError):
        task.attempt(events=orders(5))
    assert task.entry(1)["is_refused"]

    task.attempt(events=orders(5, 100))

    assert numbers(emulator) == list(range(100, 105))
    assert not task.store or "is_refused" not in task.entry(1)


def test_a_batch_that_was_refused_for_the_key_is_sent_once_the_key_is_right(
    emulator: EmulatorClient, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json("wrong"))
    with pytest.raises(FullStoryAuthenticationError):
        task.attempt(events=orders(25))
    assert numbers(emulator) == []
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json())

    task.attempt(events=orders(25))

    assert numbers(emulator) == list(range(25))


def test_a_refused_batch_does_not_hide_the_batches_behind_it_that_were_sent(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.configure(max_body_bytes=200)
    first, second, third = orders(3)
    second["note"] = "x" * 200

    def create(really: Callable[[], Any], body: bytes) -> Any:
        while b'"note"' in body and len(emulator.jobs()) < 2:
            pass
        return really()

    with creating_imports(create), pytest.raises(FullStoryBodyTooLargeError):
        task.attempt(events=[first, second, third], batch_size=1)
    assert numbers(emulator) == [0, 2]
    assert task.entry(2)["is_refused"]

    message = failure_of(task, FullStorySourceChangedError, events=[first], batch_size=1)

    assert "fewer than an earlier try has sent: batch 3\n" in message


def test_a_ledger_that_cannot_be_read_fails_before_anything_is_sent(
    emulator: EmulatorClient, task: Task
) -> None:
    crash_after_all_were_sent(task, events=orders(5))
    task.put("import", task.ledger["import"] | {"round": "many"})

    with pytest.raises(FullStoryLedgerError, match="Nothing was sent"):
        task.attempt(events=orders(5))

    assert len(posts(emulator)) == 1


def test_an_entry_that_cannot_be_read_fails_before_anything_is_sent(
    emulator: EmulatorClient, task: Task
) -> None:
    crash_after_all_were_sent(task, events=orders(5))
    task.edit(1, at="yesterday")

    with pytest.raises(FullStoryLedgerError, match="Nothing was sent"):
        task.attempt(events=orders(5))

    assert len(posts(emulator)) == 1


def test_each_batch_costs_two_small_writes_however_many_there_are(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store", batch_size=1, max_parallel_uploads=4)

    assert task.attempt(events=orders(300))["imported"] == 300

    assert task.store is not None
    writes = task.store.writes
    # The run twice, the import, its organization, all sent, ended.
    assert len(writes) == 2 * 300 + 6
    assert max(size for _, size, _ in writes) < 400
    # Equal but for the digits of a time.
    for early, late in ((1, 299), (2, 300)):
        first, last = (size_of_last_write(task.store, f"_batch_{n}") for n in (early, late))
        assert abs(first - last) <= 4
    assert len({str(retention) for _, _, retention in writes}) == 1
    assert writes[0][2] is never_expire()


def size_of_last_write(store: FakeTaskStateStore, key: str) -> int:
    return [size for written, size, _ in store.writes if written.endswith(key)][-1]


def never_expire() -> Any:
    from airflow.sdk import NEVER_EXPIRE

    return NEVER_EXPIRE


def test_a_retry_writes_only_what_is_new(emulator: EmulatorClient, make_task: Callable[..., Task]) -> None:
    task = make_task("store", batch_size=1)
    crash_after_all_were_sent(task, events=orders(30))
    assert task.store is not None
    task.store.writes.clear()

    assert task.attempt(events=orders(31))["imported"] == 31

    assert len(task.store.writes) == 2 + 5


def test_a_store_that_cannot_be_read_is_told_before_anything_is_sent(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store")
    context = task.next_context()
    context["task_state_store"] = SimpleNamespace(get=Mock(side_effect=ConnectionError("gone")))

    with pytest.raises(FullStoryStorageError, match=r"could not be read \(ConnectionError: gone\)"):
        task.operator(events=orders(5)).execute(context)

    assert emulator.requests() == []


def test_a_store_that_cannot_be_written_is_told_and_names_what_fullstory_has(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store")

    with pytest.raises(FullStoryStorageError) as caught:
        task.attempt(events=orders(5), breaking=Breaking(OSError, matches=noting_job(1)))

    [job] = emulator.jobs()
    assert "could not be written (OSError: The process is gone.)" in str(caught.value)
    assert "\nFullStory has accepted 1 batch with 5 records.\n" in str(caught.value)
    assert str(caught.value).endswith(f"\nJobs: {job['id']}.")
