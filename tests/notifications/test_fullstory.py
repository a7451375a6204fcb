"""The notifier: one annotation for what happened once, wherever and however often Airflow calls it."""

from __future__ import annotations

import asyncio
import datetime
import json
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseNotifier

from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryInputError,
    FullStoryStorageError,
)
from airflow_provider_fullstory.hooks.retrying import Retries
from airflow_provider_fullstory.notifications.fullstory import FullStoryAnnotationNotifier
from tests.annotations import LOST, POSTS, REFUSED, noting, texts
from tests.tries import Breaking, Crash, breaking_writes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.logs import Log

Notify = Any


def call(notifier: FullStoryAnnotationNotifier, context: Any) -> None:
    """Call a notifier as task and DAG callbacks do."""
    if hasattr(BaseNotifier, "__await__"):
        notifier(context)
    else:
        # Airflow 2 logs what a notifier raises.
        notifier._update_context(context)
        notifier.render_template_fields(context)
        notifier.notify(context)


def wait_for(notifier: FullStoryAnnotationNotifier, context: Any) -> None:
    """Await a notifier as a triggerer does."""

    async def wait() -> None:
        await notifier.async_notify(context)

    notifier._update_context(context)
    notifier.render_template_fields(context)
    asyncio.run(wait())


BOTH = pytest.mark.parametrize("notify", [call, wait_for], ids=["sync", "async"])


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.api.protocol.FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("airflow_provider_fullstory.notifications.fullstory._RETRY_FOR", 0.05)


@pytest.fixture
def of_task(make_context: Callable[..., Any]) -> Callable[..., Any]:
    """Make the context of a task's callback."""

    def make(try_number: int = 1, **identity: Any) -> Any:
        context = make_context(**identity) | {"dag": DAG("dag", schedule=None)}
        context["ti"].try_number = try_number
        return context

    return make


@pytest.fixture
def of_run(of_task: Callable[..., Any]) -> Callable[..., Any]:
    """Make the context of a DAG's callback; it holds the last task that ended."""

    def make(start: int = 0, **identity: Any) -> Any:
        context = of_task(**identity) | {"reason": "task_failure"}
        context["dag_run"].start_date = datetime.datetime.fromtimestamp(start, datetime.UTC)
        return context

    return make


def of_deadline(deadline: str = "1", run_id: str = "run-1") -> dict[str, Any]:
    """Return the context that Airflow gives to a deadline's callback."""
    return {
        "dag_run": {"dag_id": "dag", "dag_run_id": run_id, "start_date": "2026-01-31T12:00:00Z"},
        "deadline": {"id": deadline, "deadline_time": "2026-01-31T13:00:00Z"},
        # Airflow 2, which has no deadlines, cannot render without it.
        "dag": DAG("dag", schedule=None),
    }


@pytest.fixture
def state_uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}"


# One call.


@BOTH
def test_the_annotation_is_rendered_and_posted(
    emulator: EmulatorClient, of_task: Callable[..., Any], notify: Notify
) -> None:
    notifier = FullStoryAnnotationNotifier(
        text="{{ ti.task_id }} of {{ dag.dag_id }} is done",
        start_time="{{ '2026-01-31 12:00:00+00:00' }}",
        end_time=datetime.datetime(2026, 1, 31, 13, tzinfo=datetime.UTC),
        source="{{ run_id }}",
        fullstory_conn_id="fullstory_{{ 'default' }}",
    )

    notify(notifier, of_task())

    assert emulator.annotations() == [
        {
            "text": "task of dag is done",
            "start_time": "2026-01-31T12:00:00Z",
            "end_time": "2026-01-31T13:00:00Z",
            "source": "run-1",
        }
    ]


@BOTH
def test_a_text_is_enough_and_is_cut(
    emulator: EmulatorClient, of_task: Callable[..., Any], notify: Notify
) -> None:
    notify(FullStoryAnnotationNotifier("x" * 300), of_task())

    [annotation] = emulator.annotations()
    assert annotation["text"] == "x" * 199 + "…"
    assert annotation["source"] == "Airflow"


def test_a_notifier_renders_its_templates_for_each_run(
    emulator: EmulatorClient, of_task: Callable[..., Any]
) -> None:
    notifier = FullStoryAnnotationNotifier(text="{{ run_id }}")
    for run_id in ("run-1", "run-2"):
        notifier(of_task(run_id=run_id))

    assert texts(emulator) == ["run-1", "run-2"]


def test_a_dag_that_cannot_render_templates_does_not_keep_a_notifier_from_it(
    emulator: EmulatorClient, of_run: Callable[..., Any]
) -> None:
    # dag.test() of Airflow 3 gives such a DAG to the callbacks of DAGs.
    context = of_run() | {"dag": SimpleNamespace(dag_id="dag", render_template_as_native_obj=False)}

    call(FullStoryAnnotationNotifier("{{ dag.dag_id }} is done"), context)

    assert texts(emulator) == ["dag is done"]


@BOTH
@pytest.mark.parametrize(
    "arguments", [{"source": "x" * 41}, {"text": " "}, {"start_time": "soon"}, {"state_uri": ""}], ids=str
)
def test_a_wrong_argument_is_an_error(
    emulator: EmulatorClient, of_task: Callable[..., Any], arguments: dict[str, Any], notify: Notify
) -> None:
    with pytest.raises(FullStoryInputError):
        notify(FullStoryAnnotationNotifier(**{"text": "Done"} | arguments), of_task())

    assert emulator.requests() == []


@BOTH
@pytest.mark.parametrize(("status", "error"), REFUSED.items())
def test_a_refusal_is_an_error(
    emulator: EmulatorClient,
    of_task: Callable[..., Any],
    status: int,
    error: type[FullStoryError],
    notify: Notify,
) -> None:
    emulator.order_fault(**POSTS, status=status, times=1000)

    with pytest.raises(error, match=r"This try posted nothing\.$"):
        notify(FullStoryAnnotationNotifier("Done"), of_task())


@BOTH
@pytest.mark.parametrize("fault", LOST, ids=str)
def test_a_lost_answer_is_an_error_and_the_annotation_is_not_posted_again(
    emulator: EmulatorClient,
    of_task: Callable[..., Any],
    fault: dict[str, Any],
    log: Log,
    *,
    notify: Notify,
    state_uri: str,
) -> None:
    emulator.order_fault(**POSTS, **fault)
    with pytest.raises(FullStoryError, match="Nobody can know whether FullStory has the annotation"):
        notify(FullStoryAnnotationNotifier("Done", state_uri=state_uri), of_task())

    notify(FullStoryAnnotationNotifier("Done", state_uri=state_uri), of_task())

    assert len(emulator.requests()) == 1
    assert log.having("An earlier try sent this annotation at ")


def test_a_notifier_that_is_cancelled_while_it_waits_has_posted_nothing(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch, state_uri: str
) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.notifications.fullstory._RETRY_FOR", 10.0)
    emulator.order_fault(**POSTS, status=429, headers={"Retry-After": "5"})

    async def cancel_the_wait() -> None:
        notifier = FullStoryAnnotationNotifier("Late", state_uri=state_uri)
        waits, note = asyncio.Event(), Retries._note

        def noted(retries: Retries, state: Any) -> None:
            note(retries, state)
            waits.set()

        monkeypatch.setattr(Retries, "_note", noted)
        notification = asyncio.create_task(notifier.async_notify(of_deadline()))
        await waits.wait()
        # A triggerer that ends does so, and another one begins anew.
        notification.cancel()
        with pytest.raises(asyncio.CancelledError):
            await notification

    asyncio.run(cancel_the_wait())

    wait_for(FullStoryAnnotationNotifier("Late", state_uri=state_uri), of_deadline())
    assert texts(emulator) == ["Late"]


def test_a_notifier_whose_time_is_up_has_sent_nothing(
    emulator: EmulatorClient, of_task: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.notifications.fullstory._TIMEOUT", 0.0)

    with pytest.raises(FullStoryError, match="time was up before the request was sent"):
        call(FullStoryAnnotationNotifier("Done"), of_task())

    assert emulator.requests() == []


# Several calls.


@BOTH
def test_with_a_note_the_same_is_posted_once(
    emulator: EmulatorClient,
    of_task: Callable[..., Any],
    of_run: Callable[..., Any],
    notify: Notify,
    state_uri: str,
) -> None:
    contexts = [
        of_task,
        lambda: of_task(try_number=2),
        lambda: of_task(map_index=0),
        lambda: of_task(run_id="run-2"),
        of_run,
        lambda: of_run(start=1),
        lambda: of_run(run_id="run-2"),
        of_deadline,
        lambda: of_deadline("2"),
        lambda: of_deadline(run_id="run-2"),
    ]
    for context in contexts * 2:
        for text in ("Late", "Wrong"):
            notify(FullStoryAnnotationNotifier(text, state_uri=state_uri), context())

    assert sorted(texts(emulator)) == ["Late"] * len(contexts) + ["Wrong"] * len(contexts)


@BOTH
def test_a_note_is_about_one_connection(
    emulator: EmulatorClient,
    of_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    notify: Notify,
    state_uri: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_EU", emulator.connection_json())
    for connection in ("fullstory_default", "fullstory_eu") * 2:
        notify(
            FullStoryAnnotationNotifier("Done", state_uri=state_uri, fullstory_conn_id=connection), of_run()
        )

    assert texts(emulator) == ["Done"] * 2


def test_the_last_task_of_a_run_makes_no_difference_to_the_annotation_of_its_end(
    emulator: EmulatorClient, of_run: Callable[..., Any], state_uri: str
) -> None:
    for try_number in (1, 2):
        context = of_run()
        context["ti"].task_id, context["ti"].try_number = f"task-{try_number}", try_number
        FullStoryAnnotationNotifier("Done", state_uri=state_uri)(context)

    assert texts(emulator) == ["Done"]


def test_a_context_without_any_task_names_the_run_too(emulator: EmulatorClient, state_uri: str) -> None:
    for _ in range(2):
        context = {"dag": DAG("dag", schedule=None), "run_id": "run-1", "reason": "timed_out"}
        FullStoryAnnotationNotifier("Late", state_uri=state_uri)(context)

    assert texts(emulator) == ["Late"]


@BOTH
def test_without_a_note_each_call_posts(
    emulator: EmulatorClient, of_task: Callable[..., Any], task_state_store: Any, notify: Notify
) -> None:
    for _ in range(2):
        notify(FullStoryAnnotationNotifier("Done"), of_task() | {"task_state_store": task_state_store})

    assert texts(emulator) == ["Done"] * 2
    assert task_state_store.writes == []


def test_a_context_that_names_no_run_is_no_reason_not_to_post(
    emulator: EmulatorClient, state_uri: str
) -> None:
    for _ in range(2):
        FullStoryAnnotationNotifier("Done", state_uri=state_uri)({"dag": DAG("dag", schedule=None)})

    assert texts(emulator) == ["Done"] * 2


def test_the_folder_of_airflows_configuration_counts(
    emulator: EmulatorClient,
    of_task: Callable[..., Any],
    state_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("AIRFLOW__FULLSTORY__STATE_URI", state_uri)
    for _ in range(2):
        FullStoryAnnotationNotifier("Done")(of_task())

    assert texts(emulator) == ["Done"]
    [note] = tmp_path.glob("annotations/dag/task/run-1.-1.*/ledger/annotation_*.json")
    assert json.loads(note.read_text())["stage"] == "posted"


@BOTH
@pytest.mark.parametrize("stage", ["posting", "posted"])
def test_a_process_that_dies_is_not_followed_by_another_post(
    emulator: EmulatorClient, of_task: Callable[..., Any], notify: Notify, state_uri: str, stage: str
) -> None:
    notifier = FullStoryAnnotationNotifier("Done", state_uri=state_uri)
    breaking = Breaking(matches=noting(stage), is_done=stage == "posting")
    with breaking_writes(breaking), pytest.raises(Crash):
        notify(notifier, of_task())

    notify(notifier, of_task())

    assert len(texts(emulator)) == (stage == "posted")


@BOTH
def test_what_cannot_be_noted_is_not_posted(
    emulator: EmulatorClient, of_task: Callable[..., Any], notify: Notify, state_uri: str
) -> None:
    breaking = Breaking(FullStoryStorageError, matches=noting("posting"))
    with breaking_writes(breaking), pytest.raises(FullStoryStorageError, match="This try posted nothing"):
        notify(FullStoryAnnotationNotifier("Done", state_uri=state_uri), of_task())

    assert emulator.requests() == []


# As Airflow calls it.


def test_a_deadline_is_missed_in_the_triggerer(emulator: EmulatorClient, state_uri: str) -> None:
    callbacks = pytest.importorskip("airflow.triggers.callback", reason="Airflow below 3.1 has no deadlines.")
    from airflow.sdk.definitions import deadline as definitions

    callback = definitions.AsyncCallback(
        FullStoryAnnotationNotifier,
        kwargs={"text": "{{ dag_run.dag_id }} missed {{ deadline.deadline_time }}", "state_uri": state_uri},
    )
    context = of_deadline()
    context.pop("dag")

    async def run() -> list[Any]:
        trigger = callbacks.CallbackTrigger(callback.path, callback.kwargs | {"context": context})
        return [event.payload async for event in trigger.run()]

    for _ in range(2):
        assert asyncio.run(run())[-1]["state"] == "success"

    assert texts(emulator) == ["dag missed 2026-01-31T13:00:00Z"]

    emulator.order_fault(**POSTS, status=401, times=9)
    context["deadline"]["id"] = "2"
    last = asyncio.run(run())[-1]
    assert last["state"] == "failed"
    assert FullStoryAuthenticationError.__name__ in last["body"]
    assert not any(key in last["body"] for key in emulator.keys)


def test_a_deadline_is_missed_in_an_executor(emulator: EmulatorClient, state_uri: str) -> None:
    supervisor = pytest.importorskip(
        "airflow.sdk.execution_time.callback_supervisor", reason="This Airflow runs no callback in executors."
    )
    import structlog

    path = f"{FullStoryAnnotationNotifier.__module__}.{FullStoryAnnotationNotifier.__qualname__}"
    context = of_deadline(uuid.uuid4().hex)
    context.pop("dag")
    arguments = {"text": "{{ dag_run.dag_run_id }} is late", "state_uri": state_uri, "context": context}

    done, error = supervisor.execute_callback(path, arguments, "", None, structlog.get_logger())

    assert (done, error) == (True, None)
    assert texts(emulator) == ["run-1 is late"]
