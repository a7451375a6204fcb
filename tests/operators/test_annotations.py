"""An annotation is posted at most once for a task of a run, whatever happens to its tries."""

from __future__ import annotations

import json
import multiprocessing
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.emulator.client import EmulatorClient
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryInputError,
    FullStoryRateLimitError,
    FullStoryStorageError,
    FullStoryUnreachableError,
)
from airflow_provider_fullstory.operators.fullstory import FullStoryAnnotationOperator
from airflow_provider_fullstory.task.annotation_note import AnnotationNote
from tests.annotations import LOST, POSTS, REFUSED, AnnotationTask, noting, post_in_process, texts
from tests.conftest import run
from tests.tries import DAY, Breaking, Clock, Crash, clear_later, failure_of, prepare_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.api.annotations import NewAnnotation
    from tests.conftest import FakeTaskStateStore
    from tests.logs import Log

NOON = "2026-01-31T12:00:00Z"
WITH_A_NOTE = pytest.mark.parametrize("task", ["store", "state", "both"], indirect=True)
ABSENT = "Nobody can know whether FullStory has the annotation"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.api.protocol.FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("airflow_provider_fullstory.operators.annotations.RETRY_FOR", 0.05)


@pytest.fixture
def make_task(task_state_store: FakeTaskStateStore, tmp_path: Path) -> Callable[..., AnnotationTask]:
    """Make a task by where its note is kept: ``store``, ``state``, ``both`` or ``nothing``."""

    def make(kept: str, **arguments: Any) -> AnnotationTask:
        store = task_state_store if kept in ("store", "both") else None
        state_uri = f"file://{tmp_path / 'state'}" if kept in ("state", "both") else None
        return AnnotationTask(store, state_uri, **arguments)

    return make


@pytest.fixture
def task(request: pytest.FixtureRequest, make_task: Callable[..., AnnotationTask]) -> AnnotationTask:
    return make_task(getattr(request, "param", "state"))


# One try.


def test_the_annotation_is_posted_and_returned(emulator: EmulatorClient, task: AnnotationTask) -> None:
    result = task.attempt(text="Prices are up", start_time=NOON, end_time="2026-02-01", source="shop")

    posted = {
        "text": "Prices are up",
        "start_time": NOON,
        "end_time": "2026-02-01T00:00:00Z",
        "source": "shop",
    }
    assert emulator.annotations() == [posted]
    assert result == posted | {"is_new": True}


def test_a_text_is_enough(emulator: EmulatorClient, task: AnnotationTask) -> None:
    result = task.attempt()

    assert (result["text"], result["source"]) == ("Deployed", "Airflow")
    assert result["start_time"] == result["end_time"]


def test_all_texts_are_templates(emulator: EmulatorClient, tmp_path: Path, context: Any) -> None:
    operator = FullStoryAnnotationOperator(
        task_id="annotate",
        text="Version {{ version }}",
        start_time="{{ start }}",
        end_time="{{ end }}",
        source="{{ source }}",
        state_uri="file://{{ folder }}",
        fullstory_conn_id="fullstory_{{ name }}",
    )
    operator.render_template_fields(
        {
            "version": 7,
            "start": pendulum.datetime(2026, 1, 31, 12, tz="UTC"),
            "end": "2026-01-31 13:00:00+00:00",
            "source": "CI",
            "folder": tmp_path,
            "name": "default",
        }
    )

    run(operator, context)

    assert emulator.annotations() == [
        {"text": "Version 7", "start_time": NOON, "end_time": "2026-01-31T13:00:00Z", "source": "CI"}
    ]
    assert list(tmp_path.rglob("annotation_*.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "x" * 201}, "text has 201 characters; FullStory takes up to 200"),
        ({"text": " "}, "text is empty"),
        ({"source": "x" * 41}, "source has 41 characters; FullStory takes up to 40"),
        ({"start_time": NOON, "end_time": "2026-01-01"}, "it starts at 2026-01-31T12:00:00Z"),
        ({"start_time": "soon"}, "start_time is 'soon'"),
        ({"text": None}, "text is None; it must be text"),
        ({"state_uri": ""}, "state_uri is ''"),
        ({"durable": False}, "state_uri is given with durable=False"),
    ],
    ids=str,
)
def test_wrong_arguments_fail_the_task_before_anything_is_sent(
    emulator: EmulatorClient, task: AnnotationTask, arguments: dict[str, Any], message: str
) -> None:
    assert message in failure_of(task, FullStoryInputError, **arguments)
    assert emulator.requests() == []


# After the annotation was posted.


@WITH_A_NOTE
@pytest.mark.parametrize("passed", [0.0, 60 * DAY], ids=["at once", "two months later"])
def test_a_later_try_posts_nothing_and_returns_what_was_posted(
    emulator: EmulatorClient, task: AnnotationTask, clock: Clock, log: Log, passed: float
) -> None:
    first = task.attempt()
    clear_later(task, clock, passed)

    for _ in range(2):
        assert task.attempt() == first | {"is_new": False}

    assert texts(emulator) == ["Deployed"]
    lines = log.having("FullStory has this annotation since")
    assert len(lines) == 2
    # They may be other times than those of this try.
    assert all(first["start_time"] in line and first["end_time"] in line for line in lines)


@WITH_A_NOTE
def test_another_text_is_not_posted_and_the_log_says_so(
    emulator: EmulatorClient, task: AnnotationTask, log: Log
) -> None:
    task.attempt()

    result = task.attempt(text="Deployed again")

    assert texts(emulator) == ["Deployed"]
    assert (result["text"], result["is_new"]) == ("Deployed", False)
    [line] = log.having("The text has changed since")
    assert line.startswith("Nothing was posted.")
    assert "an earlier try posted: Deployed\n" in line
    assert "With durable=False, each try posts one." in line


@WITH_A_NOTE
def test_wrong_arguments_do_not_make_a_task_forget_what_it_posted(
    emulator: EmulatorClient, task: AnnotationTask
) -> None:
    task.attempt()
    failure_of(task, FullStoryInputError, text="x" * 201)

    assert task.attempt()["is_new"] is False
    assert texts(emulator) == ["Deployed"]


def test_a_note_of_airflows_store_counts_once_there_is_a_folder(
    emulator: EmulatorClient, make_task: Callable[..., AnnotationTask], tmp_path: Path
) -> None:
    task = make_task("store")
    task.attempt()

    assert task.attempt(state_uri=f"file://{tmp_path}")["is_new"] is False
    assert texts(emulator) == ["Deployed"]


def test_mapped_tasks_runs_and_operators_in_one_task_have_notes_of_their_own(
    emulator: EmulatorClient, make_task: Callable[..., AnnotationTask]
) -> None:
    tasks = [make_task("both", map_index=index, text=f"Part {index}") for index in (0, 1)]
    tasks += [make_task("both", map_index=0, text="Beside", task_id="beside")]
    for task in tasks * 2:
        task.attempt()

    assert sorted(texts(emulator)) == ["Beside", "Part 0", "Part 1"]


# An answer that was lost.


@WITH_A_NOTE
@pytest.mark.parametrize("fault", LOST, ids=str)
def test_after_a_lost_answer_no_try_posts_again_and_each_says_that_nobody_can_know(
    emulator: EmulatorClient, task: AnnotationTask, log: Log, fault: dict[str, Any]
) -> None:
    emulator.order_fault(**POSTS, **fault)

    for _ in range(3):
        assert task.attempt() is None

    assert len(emulator.requests()) == 1
    assert len(log.having(ABSENT)) == 3
    assert len(log.having("An earlier try sent this annotation at ")) == 2


@WITH_A_NOTE
@pytest.mark.parametrize("is_done", [False, True], ids=["not noted", "noted"])
def test_a_try_that_dies_as_it_notes_what_it_is_about_to_do_has_posted_nothing(
    emulator: EmulatorClient, task: AnnotationTask, log: Log, *, is_done: bool
) -> None:
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting("posting"), is_done=is_done))
    assert emulator.requests() == []

    result = task.attempt()

    # In a folder, a try claims the annotation before. Once it is claimed or noted, it may as well be posted.
    is_known = task.is_in_store and not is_done
    assert texts(emulator) == (["Deployed"] if is_known else [])
    assert (result is None) is not is_known
    assert bool(log.having(ABSENT)) is not is_known


@WITH_A_NOTE
def test_a_try_that_dies_after_it_posted_is_not_followed_by_another_post(
    emulator: EmulatorClient, task: AnnotationTask, log: Log
) -> None:
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting("posted")))

    for _ in range(2):
        assert task.attempt() is None

    assert texts(emulator) == ["Deployed"]
    assert len(log.having(ABSENT)) == 2


def test_a_process_that_is_gone_while_it_posts_is_not_followed_by_another_post(
    emulator: EmulatorClient, task: AnnotationTask, log: Log
) -> None:
    emulator.order_fault(**POSTS, delay_seconds=3600.0)
    assert task.state_uri is not None
    arguments = (emulator.connection_json(), task.state_uri)
    process = multiprocessing.get_context("spawn").Process(target=post_in_process, args=arguments)
    process.start()
    try:
        while not emulator.requests():
            assert process.is_alive()
    finally:
        process.kill()
        process.join()
    emulator.forget_faults()
    task.tries = 1

    assert task.attempt() is None
    assert len(emulator.requests()) == 1
    assert log.having(ABSENT)


@WITH_A_NOTE
def test_of_two_tries_at_the_same_time_one_posts(
    emulator: EmulatorClient, task: AnnotationTask, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow takes the first for dead, and begins the second, while the first continues.
    begin, results = AnnotationNote.begin, []

    def begin_late(note: AnnotationNote, annotation: NewAnnotation) -> None:
        monkeypatch.setattr(AnnotationNote, "begin", begin)
        results.append(task.attempt())
        begin(note, annotation)

    monkeypatch.setattr(AnnotationNote, "begin", begin_late)
    results.append(task.attempt())

    assert [result and result["is_new"] for result in results] == [True, None]
    assert texts(emulator) == ["Deployed"]
    [line] = log.having("Another try of this task has begun to post the annotation")
    assert ABSENT in line
    assert task.attempt()["is_new"] is False


# A refusal.


@WITH_A_NOTE
@pytest.mark.parametrize(("status", "error"), REFUSED.items())
def test_a_refusal_fails_the_task_and_a_retry_posts(
    emulator: EmulatorClient, task: AnnotationTask, status: int, error: type[FullStoryError]
) -> None:
    emulator.order_fault(**POSTS, status=status, times=1000)
    for _ in range(2):
        with pytest.raises(error) as caught:
            task.attempt()
        assert not isinstance(caught.value, AirflowFailException)
        assert str(caught.value).endswith("This try posted nothing.")
    emulator.forget_faults()

    assert task.attempt()["is_new"] is True
    assert texts(emulator) == ["Deployed"]


def test_a_rate_limit_is_waited_out(
    emulator: EmulatorClient, task: AnnotationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.operators.annotations.RETRY_FOR", 60.0)
    emulator.order_fault(**POSTS, status=429, times=3)

    assert task.attempt()["is_new"] is True
    assert len(emulator.requests()) == 4


@WITH_A_NOTE
def test_a_lost_answer_after_a_refusal_is_final(
    emulator: EmulatorClient, task: AnnotationTask, log: Log
) -> None:
    emulator.order_fault(**POSTS, status=401)
    emulator.order_fault(**POSTS, reset="after")
    with pytest.raises(FullStoryAuthenticationError):
        task.attempt()

    assert [task.attempt(), task.attempt()] == [None, None]
    assert texts(emulator) == ["Deployed"]


@WITH_A_NOTE
def test_a_host_that_is_out_of_reach_has_nothing(
    emulator: EmulatorClient, task: AnnotationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable = emulator.connection_json()
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        client = EmulatorClient(f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", client.connection_json())
        with pytest.raises(FullStoryUnreachableError):
            task.attempt()
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", reachable)

    assert task.attempt()["is_new"] is True


def test_a_task_whose_time_is_up_has_posted_nothing(emulator: EmulatorClient, task: AnnotationTask) -> None:
    with pytest.raises(FullStoryUnreachableError, match="time was up before the request was sent"):
        task.attempt(execution_timeout=timedelta())

    assert emulator.requests() == []
    assert task.attempt()["is_new"] is True


def test_a_task_that_is_killed_ends_its_wait_and_has_posted_nothing(
    emulator: EmulatorClient, task: AnnotationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.operators.annotations.RETRY_FOR", 3600.0)
    emulator.order_fault(**POSTS, status=429, headers={"Retry-After": "300"})
    operator, context = task.operator(), task.next_context()
    with ThreadPoolExecutor(1, initializer=prepare_thread) as pool:
        execution = pool.submit(operator.execute, context)
        while not emulator.requests():
            assert not execution.done(), execution.exception()
        operator.on_kill()
        # Far below the five minutes that FullStory asked to wait.
        ending = execution.exception(timeout=60)

    assert isinstance(ending, FullStoryRateLimitError)
    assert len(emulator.requests()) == 1
    assert task.attempt()["is_new"] is True


@WITH_A_NOTE
def test_wrong_arguments_are_noted_so_that_a_retry_posts(
    emulator: EmulatorClient, task: AnnotationTask
) -> None:
    failure_of(task, FullStoryInputError, text="x" * 201)

    assert task.attempt()["is_new"] is True


# Without a note.


def test_after_a_clear_that_emptied_airflows_store_nothing_is_posted(
    emulator: EmulatorClient, make_task: Callable[..., AnnotationTask], log: Log
) -> None:
    task = make_task("store")
    task.attempt()
    assert task.store is not None
    task.store.texts.clear()
    task.clear()

    for _ in range(2):
        assert task.attempt() is None

    assert texts(emulator) == ["Deployed"]
    lines = log.having("Nothing was posted. No note says what earlier tries did.")
    assert len(lines) == 2
    assert all(ABSENT in line for line in lines)
    assert log.having("State: a note in Airflow's task state store, which a clear may empty.")


def test_in_a_folder_a_missing_note_means_that_nothing_was_posted(
    emulator: EmulatorClient, task: AnnotationTask
) -> None:
    task.tries = 1

    assert task.attempt()["is_new"] is True


def test_without_a_state_only_the_first_try_posts(
    emulator: EmulatorClient, make_task: Callable[..., AnnotationTask], log: Log
) -> None:
    task = make_task("nothing")

    assert task.attempt()["is_new"] is True
    assert task.attempt() is None

    assert texts(emulator) == ["Deployed"]
    assert len(log.having("Nothing was posted. No note says what earlier tries did.")) == 1
    assert log.having(
        "State: no note, since state_uri is not set and Airflow has a task state store from 3.3"
    )


@pytest.mark.parametrize(("status", "error"), REFUSED.items())
def test_without_a_state_a_refusal_is_final_since_a_retry_would_post_nothing(
    emulator: EmulatorClient,
    make_task: Callable[..., AnnotationTask],
    status: int,
    error: type[FullStoryError],
) -> None:
    task = make_task("nothing")
    emulator.order_fault(**POSTS, status=status, times=1000)

    message = failure_of(task, error)

    assert "This try posted nothing.\nNo note tells that to a later try, so it will post nothing" in message
    assert "set state_uri, or let each try post with durable=False" in message
    emulator.forget_faults()
    assert task.attempt() is None
    assert texts(emulator) == []


def test_without_durability_each_try_posts(
    emulator: EmulatorClient, make_task: Callable[..., AnnotationTask]
) -> None:
    task = make_task("store", durable=False)
    emulator.order_fault(**POSTS, status=401)
    with pytest.raises(FullStoryAuthenticationError) as caught:
        task.attempt()
    assert not isinstance(caught.value, AirflowFailException)

    for _ in range(2):
        assert task.attempt()["is_new"] is True

    assert texts(emulator) == ["Deployed"] * 2
    assert not task.store or not task.store.writes


# A note that cannot be written or read.


def test_what_cannot_be_noted_is_not_posted(emulator: EmulatorClient, task: AnnotationTask) -> None:
    breaking = Breaking(FullStoryStorageError, matches=noting("posting"))

    with pytest.raises(FullStoryStorageError) as caught:
        task.attempt(breaking=breaking)

    assert "This try posted nothing." in str(caught.value)
    assert "That could not be noted, so later tries may post nothing" in str(caught.value)
    assert task.attempt() is None
    assert emulator.requests() == []


def test_an_outage_that_is_over_when_it_is_noted_leaves_a_retry_free_to_post(
    emulator: EmulatorClient, task: AnnotationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(AnnotationNote, "_claim", Mock(side_effect=FullStoryStorageError("Out of reach.")))
        with pytest.raises(FullStoryStorageError, match=r"This try posted nothing\.$"):
            task.attempt()

    assert task.attempt()["is_new"] is True


def test_an_annotation_that_is_posted_but_not_noted_so_ends_well_and_is_not_posted_again(
    emulator: EmulatorClient, task: AnnotationTask, log: Log
) -> None:
    result = task.attempt(breaking=Breaking(FullStoryStorageError, matches=noting("posted")))

    assert result["is_new"] is True
    assert log.having("FullStory has the annotation, but that could not be noted as a whole.")
    assert task.attempt() is None
    assert texts(emulator) == ["Deployed"]


def test_a_refusal_that_cannot_be_noted_says_so(emulator: EmulatorClient, task: AnnotationTask) -> None:
    emulator.order_fault(**POSTS, status=401)
    breaking = Breaking(FullStoryStorageError, matches=noting("unposted"), at=2)

    with pytest.raises(FullStoryAuthenticationError, match="could not be noted, so later tries may post"):
        task.attempt(breaking=breaking)

    assert task.attempt() is None
    assert texts(emulator) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"stage": "later"}', '{"at": 1}'])
def test_a_note_that_cannot_be_read_leaves_it_open_what_was_posted(
    emulator: EmulatorClient, task: AnnotationTask, log: Log, content: str
) -> None:
    task.attempt()
    [note] = notes(task)
    note.write_text(content)

    assert task.attempt() is None
    assert texts(emulator) == ["Deployed"]
    assert log.having(ABSENT)
    assert log.having("Nothing was posted. The note of earlier tries cannot be read. Nobody can know")
    assert not log.having("batch")


# The rest.


def notes(task: AnnotationTask) -> list[Path]:
    """Return the files of all notes."""
    assert task.state_uri is not None
    return list(Path(urlsplit(task.state_uri).path).glob("annotations/dag/task/*/ledger/annotation_*.json"))


def test_notes_are_removed_ninety_days_after_their_last_try(
    emulator: EmulatorClient, task: AnnotationTask, clock: Clock
) -> None:
    task.attempt()
    clock.now += 60 * DAY
    task.attempt()
    for days, left in ((80, 2), (20, 1)):
        clock.now += days * DAY
        other = AnnotationTask(None, task.state_uri, map_index=days)
        other.attempt()
        assert len(notes(task)) == left + (days == 20)


def test_nothing_shows_the_key(emulator: EmulatorClient, task: AnnotationTask, log: Log) -> None:
    emulator.order_fault(**POSTS, status=401)
    with pytest.raises(FullStoryAuthenticationError) as caught:
        task.attempt()
    result = task.attempt()

    assert task.state_uri is not None
    files = [path for path in Path(urlsplit(task.state_uri).path).rglob("*") if path.is_file()]
    seen = [str(log), str(caught.value), json.dumps(result), *(path.read_text() for path in files)]
    assert not any(key in text for key in emulator.keys for text in seen)
