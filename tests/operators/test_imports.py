"""What operators of all kinds of records share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
from airflow_provider_fullstory.task.import_run import ImportRun
from tests.conftest import run
from tests.logs import importing
from tests.tries import Task, failure_of, orders

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from airflow_provider_fullstory.task.source import RecordSource


class Timeless(FullStoryImportEventsOperator):
    """Imports records of a kind that has no timestamp."""

    def _source(self, arguments: Any) -> RecordSource:
        source = super()._source(arguments)
        kind = dataclasses.replace(source.options.kind, timestamp=None)
        return dataclasses.replace(source, options=dataclasses.replace(source.options, kind=kind))


@pytest.mark.parametrize("missing", ["_checked_arguments", "_source"])
def test_an_operator_that_lacks_a_method_cannot_be_made(missing: str) -> None:
    methods = {"_checked_arguments": lambda _: None, "_source": lambda *_: None}
    methods.pop(missing)
    operator = type("Incomplete", (FullStoryImportOperator,), methods)

    with pytest.raises(TypeError, match=missing):
        operator(task_id="import")


def test_only_records_of_a_kind_with_timestamps_are_said_to_lack_them(
    emulator: EmulatorClient, context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events = [{"name": "Order", "user": {"uid": "u"}}]
    with caplog.at_level("WARNING", "airflow_provider_fullstory"):
        assert Timeless(task_id="import", events=events).execute(context)["imported"] == 1
    assert "timestamp" not in caplog.text

    with caplog.at_level("WARNING", "airflow_provider_fullstory"):
        importing(events=events, idempotency_salt="again").execute(context)
    assert "No timestamp in the first 1 event: FullStory gives each the time of its import." in caplog.text


def test_a_try_with_wrong_arguments_is_noted_where_the_others_lead(
    make_task: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__FULLSTORY__STATE_URI", f"file://{tmp_path}/configured")

    failure_of(make_task("nothing"), FullStoryInputError, events=orders(1), batch_size=0, durable="false")
    assert not (tmp_path / "configured").exists()

    failure_of(make_task("nothing"), FullStoryInputError, events=orders(1), batch_size=0)
    assert (tmp_path / "configured").exists()


@pytest.mark.parametrize("deferrable", [False, True])
def test_to_kill_a_task_after_the_wait_in_the_triggerer_logs_nothing_of_its_jobs(
    emulator: EmulatorClient, task: Task, monkeypatch: pytest.MonkeyPatch, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.3)
    operator = task.operator(events=orders(25), deferrable=deferrable)
    logger = Mock()
    monkeypatch.setattr(BaseOperator, "log", property(lambda _: logger), raising=False)
    complete = ImportRun.complete

    def kill_and_complete(*arguments: Any, **keywords: Any) -> None:
        logger.reset_mock()
        operator.on_kill()
        assert logger.warning.called is not deferrable
        complete(*arguments, **keywords)

    monkeypatch.setattr(ImportRun, "complete", kill_and_complete)

    assert run(operator, task.next_context())["imported"] == 25


def test_wrong_arguments_after_the_wait_do_not_make_the_run_another_one(
    emulator: EmulatorClient, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    emulator.configure(processing_seconds=3600)
    task = make_task("state", events=orders(25), deferrable=True)
    operator, context = task.operator(), task.next_context()
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context)
    [noted] = tmp_path.rglob("run.json")
    before = noted.read_text()
    operator.batch_size = 0

    with pytest.raises(FullStoryInputError, match="batch_size is 0"):
        operator.execute_complete(context, {"report": deferral.value.trigger.report})

    assert noted.read_text() == before
