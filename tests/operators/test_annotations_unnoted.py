"""What a try does that finds no note, and how tries end so that the next one finds one."""

from __future__ import annotations

import signal
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryStorageError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.task.annotation_note import AnnotationNote
from tests.annotations import POSTS, AnnotationTask, texts
from tests.conftest import FakeDagRun
from tests.tries import DAY, Clock, clear_later, failure_of

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.conftest import FakeTaskStateStore
    from tests.logs import Log

NOTHING = "Nothing was posted. No note says what earlier tries did"
ABSENT = "Nobody can know whether FullStory has the annotation"
WITH_A_NOTE = pytest.mark.parametrize("task", ["store", "state", "both"], indirect=True)


@pytest.fixture
def task(
    request: pytest.FixtureRequest, task_state_store: FakeTaskStateStore, tmp_path: Path
) -> AnnotationTask:
    kept = getattr(request, "param", "state")
    return AnnotationTask(
        None if kept == "state" else task_state_store,
        None if kept == "store" else f"file://{tmp_path / 'state'}",
    )


def another_run(task: AnnotationTask) -> AnnotationTask:
    """Return the same task in another run."""
    return AnnotationTask(None, task.state_uri, map_index=1, text="Another")


def die_before_the_note(task: AnnotationTask) -> None:
    """Let a try end before the operator is executed, such as by a template that cannot be rendered."""
    task.next_context()


# Tries of a run that nobody has cleared.


@WITH_A_NOTE
def test_a_retry_after_a_try_that_came_to_nothing_posts(
    emulator: EmulatorClient, task: AnnotationTask
) -> None:
    for _ in range(2):
        die_before_the_note(task)

    assert task.attempt()["is_new"] is True
    assert texts(emulator) == ["Deployed"]


# Cleared runs.


def test_a_cleared_run_posts_if_its_folder_is_older(
    emulator: EmulatorClient, task: AnnotationTask, clock: Clock
) -> None:
    another_run(task).attempt()
    clock.now += 2 * DAY
    task.run = FakeDagRun()
    die_before_the_note(task)
    clear_later(task, clock, 60.0)

    assert task.attempt()["is_new"] is True
    assert texts(emulator) == ["Another", "Deployed"]


@pytest.mark.parametrize("is_used_now", [False, True], ids=["not in use", "in use"])
def test_a_folder_that_is_set_once_the_first_try_has_posted_does_not_lead_to_another_post(
    emulator: EmulatorClient, task: AnnotationTask, clock: Clock, log: Log, *, is_used_now: bool
) -> None:
    # Airflow below 3.3 has no task state store.
    task.attempt(state_uri=None)
    clear_later(task, clock, 60.0)
    if is_used_now:
        another_run(task).attempt()

    for _ in range(2):
        assert task.attempt() is None

    assert texts(emulator) == ["Deployed", *["Another"] * is_used_now]
    assert len(log.having(NOTHING)) == 2
    assert all(ABSENT in line for line in log.having(NOTHING))


def test_a_note_that_was_removed_after_ninety_days_does_not_lead_to_another_post(
    emulator: EmulatorClient, task: AnnotationTask, clock: Clock, log: Log
) -> None:
    task.attempt()
    clock.now += 100 * DAY
    another_run(task).attempt()
    clear_later(task, clock, 10 * DAY)

    assert task.attempt() is None

    assert texts(emulator) == ["Deployed", "Another"]
    [line] = log.having(NOTHING)
    assert ABSENT in line
    assert "kept for 90 days" in line


@pytest.mark.parametrize("task", ["store", "state"], indirect=True)
def test_a_task_that_was_cleared_while_its_run_stayed_as_it_was_posts_nothing(
    emulator: EmulatorClient, task: AnnotationTask, clock: Clock, log: Log
) -> None:
    task.attempt()
    clock.now += 60.0
    if task.store is not None:
        task.store.texts.clear()
    operator = task.operator(state_uri=task.state_uri and f"{task.state_uri}-new", retries=2)
    context = task.next_context()
    # Airflow adds the tries of a task to those that it has had.
    context["ti"].max_tries = 3
    assert operator.execute(context | {"task": operator}) is None

    assert texts(emulator) == ["Deployed"]
    assert ABSENT in log.having(NOTHING)[0]


# Arguments that another try has right.


@WITH_A_NOTE
@pytest.mark.parametrize("arguments", [{"text": None}, {"source": 7}, {"fullstory_conn_id": ""}], ids=str)
def test_arguments_that_are_wrong_are_noted_so_that_a_clear_posts(
    emulator: EmulatorClient, task: AnnotationTask, clock: Clock, arguments: dict[str, Any]
) -> None:
    assert failure_of(task, FullStoryInputError, **arguments).endswith("This try posted nothing.")
    clear_later(task, clock, 60.0)

    assert task.attempt()["is_new"] is True
    assert texts(emulator) == ["Deployed"]


# Two tries at the same time.


@WITH_A_NOTE
def test_a_try_that_cannot_say_whether_it_is_the_first_leaves_the_note_of_another(
    emulator: EmulatorClient, task: AnnotationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = AnnotationNote._claim

    def claim_late(note: AnnotationNote) -> bool:
        monkeypatch.setattr(AnnotationNote, "_claim", claim)
        assert task.attempt()["is_new"] is True
        raise FullStoryStorageError("Out of reach.")

    monkeypatch.setattr(AnnotationNote, "_claim", claim_late)
    with pytest.raises(FullStoryStorageError, match=r"This try posted nothing\.$"):
        task.attempt()

    assert task.attempt()["is_new"] is False
    assert texts(emulator) == ["Deployed"]


# An end that Airflow puts to a try.


class TaskEndedError(BaseException):
    """What Airflow 2 raises after SIGTERM is no Exception either."""


def _end(*_: object) -> NoReturn:
    raise TaskEndedError


@WITH_A_NOTE
def test_a_try_that_is_ended_while_it_waits_has_posted_nothing(
    emulator: EmulatorClient, task: AnnotationTask, log: Log
) -> None:
    emulator.order_fault(**POSTS, status=429, headers={"Retry-After": "250"})

    def end_the_wait() -> None:
        while not log.having("The request is repeated until FullStory takes it"):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    ending = threading.Thread(target=end_the_wait, daemon=True)
    before = signal.signal(signal.SIGTERM, _end)
    try:
        ending.start()
        with pytest.raises(TaskEndedError) as caught:
            task.attempt()
        ending.join()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert str(caught.value.__cause__).endswith("This try posted nothing.")
    assert task.attempt()["is_new"] is True
    assert texts(emulator) == ["Deployed"]


@WITH_A_NOTE
def test_a_request_ends_before_airflow_ends_the_task(
    emulator: EmulatorClient, task: AnnotationTask, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = timedelta(seconds=6)
    left: list[float] = []

    class Hook(FullStoryHook):
        def __init__(self, *arguments: Any, deadline: float, **others: Any) -> None:
            left.append(deadline - time.time())
            super().__init__(*arguments, deadline=deadline, **others)

    monkeypatch.setattr("airflow_provider_fullstory.hooks.fullstory.FullStoryHook", Hook)
    emulator.order_fault(**POSTS, delay_seconds=3600.0)

    assert task.attempt(execution_timeout=limit) is None

    # What is left of it is for the note.
    assert left[0] <= 0.9 * limit.total_seconds()
    assert len(emulator.requests()) == 1
    assert log.having(ABSENT)
