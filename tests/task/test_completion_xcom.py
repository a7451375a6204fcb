"""The report in XCom is there before the task waits, and though it fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from tests.conftest import run
from tests.tries import (
    orders,
)

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient

from tests.logs import MIXED, importing


def test_the_report_is_there_before_the_task_waits(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = FullStoryHook.get_job_status

    def get_job_status(hook: Any, *arguments: Any) -> Any:
        seen.append(json.loads(json.dumps(context["ti"].xcoms)))
        return original(hook, *arguments)

    monkeypatch.setattr(FullStoryHook, "get_job_status", get_job_status)
    report = importing(events=MIXED, max_rejected=3).execute(context)

    assert seen[0]["return_value"]["job_ids"] == report["job_ids"]
    assert (seen[0]["return_value"]["records"], seen[0]["return_value"]["imported"]) == (26, None)


@pytest.mark.parametrize("processing_seconds", [0, 3600])
def test_the_report_is_there_before_the_task_defers(
    emulator: EmulatorClient, context: Any, *, processing_seconds: float
) -> None:
    emulator.configure(processing_seconds=processing_seconds)
    try:
        importing(events=orders(25), deferrable=True).execute(context)
    except TaskDeferred:
        assert processing_seconds
    assert len(context["ti"].xcoms["return_value"]["job_ids"]) == 3


def test_the_report_is_there_though_the_wait_fails(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(Exception, match="did not finish"):
        run(importing(events=orders(25), timeout=0.3), context)
    job_ids = context["ti"].xcoms["return_value"]["job_ids"]
    assert sorted(job_ids) == sorted(job["id"] for job in emulator.jobs())


def test_no_report_is_pushed_where_none_is_wanted(emulator: EmulatorClient, context: Any) -> None:
    run(importing(events=orders(25), do_xcom_push=False), context)
    with pytest.raises(AirflowFailException):
        run(importing(events=MIXED, do_xcom_push=False), context)
    assert context["ti"].xcoms == {}
