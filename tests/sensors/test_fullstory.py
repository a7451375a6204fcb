"""How the sensor waits and what it returns, in all its modes."""

from __future__ import annotations

import asyncio
import datetime
import json
import uuid
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_fullstory.exceptions import (
    FullStoryKilledError,
    FullStoryNotFoundError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient

GOOD = {"name": "A", "user": {"uid": "u"}}
BAD = {"user": {"uid": "u"}}

DEFERRABLE = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])


def waiting(**arguments: Any) -> FullStoryImportJobSensor:
    return FullStoryImportJobSensor(**{"task_id": "wait", "poke_interval": 0.01, **arguments})


def submit(*batches: list[dict[str, Any]], resource: str = "events") -> list[str]:
    with FullStoryHook() as hook:
        return [
            hook.create_import(resource, json.dumps({"requests": batch}).encode(), str(uuid.uuid4())).id
            for batch in batches
        ]


def resume(sensor: FullStoryImportJobSensor, context: Any) -> Any:
    """Run the sensor with the part of Airflow that turns errors into skips after a deferral."""
    try:
        return sensor.execute(context)
    except TaskDeferred as deferral:
        trigger = deferral.trigger
    event = asyncio.run(anext(trigger.run())).payload
    return sensor.resume_execution("execute_complete", {"event": event}, context)


@DEFERRABLE
def test_jobs_given_by_id_are_counted_as_fullstory_counts(
    emulator: EmulatorClient, context: Any, deferrable: bool
) -> None:
    job_ids = submit([GOOD, GOOD], [GOOD])
    emulator.configure(processing_seconds=0.05)
    [slow] = submit([GOOD] * 4)
    report = run(waiting(job_ids=[*job_ids, slow], deferrable=deferrable), context)
    assert report == {
        "resource": "events",
        "job_ids": [*job_ids, slow],
        "records": 7,
        "imported": 7,
        "invalid": 0,
        "rejected": 0,
        "skipped": 0,
        "rejected_uri": None,
        "batches": 3,
        "codes": {},
        "reasons": {},
        "earliest": None,
        "latest": None,
        "without_timestamp": 0,
        "dropped_properties": {},
        "watermark": None,
    }


@DEFERRABLE
def test_one_id_is_enough(emulator: EmulatorClient, context: Any, deferrable: bool) -> None:
    [job_id] = submit([GOOD])
    assert run(waiting(job_ids=job_id, deferrable=deferrable), context)["imported"] == 1


def test_users_are_waited_for_too(emulator: EmulatorClient, context: Any) -> None:
    [job_id] = submit([{"uid": "u1"}], resource="users")
    report = waiting(job_ids=job_id, resource="users").execute(context)
    assert (report["resource"], report["imported"]) == ("users", 1)


@DEFERRABLE
def test_partial_failure_fails_with_counts_and_codes(
    emulator: EmulatorClient, context: Any, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.05)
    job_ids = submit([GOOD, BAD, BAD])
    with pytest.raises(
        AirflowFailException, match=r"^2 of 3 records (?s:.*)\n2 records: required_field, says FullStory"
    ):
        run(waiting(job_ids=job_ids, deferrable=deferrable), context)
    assert context["ti"].xcoms["return_value"]["imported"] == 1


@DEFERRABLE
def test_soft_fail_skips_where_records_were_refused(
    emulator: EmulatorClient, context: Any, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.05)
    with pytest.raises(AirflowSkipException):
        resume(waiting(job_ids=submit([BAD]), deferrable=deferrable, soft_fail=True), context)


@DEFERRABLE
@pytest.mark.parametrize(
    ("soft_fail", "error"),
    [(False, AirflowSensorTimeout), (True, AirflowSkipException)],
    ids=["fail", "skip"],
)
def test_the_timeout_is_that_of_a_sensor(
    emulator: EmulatorClient, context: Any, deferrable: bool, soft_fail: bool, error: type[Exception]
) -> None:
    emulator.configure(processing_seconds=3600)
    sensor = waiting(job_ids=submit([GOOD]), deferrable=deferrable, soft_fail=soft_fail, timeout=0.05)
    with pytest.raises(error):
        resume(sensor, context)


def test_execution_timeout_is_no_timeout_of_the_sensor(emulator: EmulatorClient, context: Any) -> None:
    """Airflow tries a sensor again after the one, not after the other."""
    emulator.configure(processing_seconds=3600)
    sensor = waiting(
        job_ids=submit([GOOD]),
        deferrable=True,
        timeout=100,
        execution_timeout=datetime.timedelta(seconds=0.05),
    )
    with pytest.raises(FullStoryTimeoutError, match="did not finish"):
        resume(sensor, context)


def test_a_poll_that_fails_in_a_passing_way_is_only_a_poll(emulator: EmulatorClient, context: Any) -> None:
    job_ids = submit([GOOD])
    emulator.order_fault(method="GET", status=503, headers={"Retry-After": "3600"})
    assert waiting(job_ids=job_ids).execute(context)["imported"] == 1


def test_finished_jobs_need_no_deferral(emulator: EmulatorClient, context: Any) -> None:
    assert waiting(job_ids=submit([GOOD]), deferrable=True).execute(context)["imported"] == 1


def test_reschedule_asks_to_be_run_again(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=3600)
    sensor = waiting(job_ids=submit([GOOD]), mode="reschedule")
    assert not sensor.poke(context)
    emulator.advance_clock(3600)
    found = sensor.poke(context)
    assert found
    assert found.xcom_value["imported"] == 1


def test_an_unknown_job_is_reported_at_once(emulator: EmulatorClient, context: Any) -> None:
    with pytest.raises(FullStoryNotFoundError, match="'gone'"):
        waiting(job_ids="gone").execute(context)


@pytest.mark.usefixtures("emulator", "unknown_jobs_are_old")
def test_jobs_of_users_that_are_taken_for_those_of_events_are_not_found(context: Any) -> None:
    [job_id] = submit([{"uid": "u"}], resource="users")
    with pytest.raises(FullStoryNotFoundError, match="check the id, whether it imports events or users"):
        waiting(job_ids=job_id).execute(context)


@pytest.mark.usefixtures("emulator")
def test_a_wait_for_users_is_not_told_of_an_operator_for_events(context: Any) -> None:
    with pytest.raises(AirflowFailException, match="the report of an import") as caught:
        waiting(job_ids=None, resource="users").execute(context)
    assert "Events" not in str(caught.value)


@pytest.mark.parametrize("job_ids", [None, [], [None], "", 7, {"job_ids": ["a"]}])
def test_what_is_no_job_is_refused(emulator: EmulatorClient, context: Any, job_ids: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"job_ids must be|not the report"):
        waiting(job_ids=job_ids).execute(context)


def test_reports_of_mapped_tasks_count_as_one(
    emulator: EmulatorClient, make_context: Callable[..., Any]
) -> None:
    from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

    reports = [
        FullStoryImportEventsOperator(
            task_id="import", events=[GOOD] * (index + 1), wait_for_completion=False
        ).execute(make_context(map_index=index))
        for index in range(3)
    ]
    report = waiting(job_ids=reports).execute(make_context())
    assert (report["records"], report["imported"], report["batches"]) == (6, 6, 3)


def test_soft_fail_counts_at_the_first_poll_too(emulator: EmulatorClient, context: Any) -> None:
    with pytest.raises(AirflowSkipException):
        waiting(job_ids=submit([BAD]), deferrable=True, soft_fail=True).execute(context)


def test_the_report_of_an_empty_import_is_done(
    emulator: EmulatorClient, context: Any, make_context: Callable[..., Any]
) -> None:
    from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

    empty = FullStoryImportEventsOperator(task_id="import", events=[], wait_for_completion=False)
    report = empty.execute(make_context())
    assert waiting(job_ids=report, deferrable=True).execute(context) == report


def test_a_sensor_that_was_killed_is_never_green(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=60)
    sensor = waiting(job_ids=submit([GOOD]))
    assert not sensor.poke(context).is_done
    emulator.advance_clock(60)

    sensor.on_kill()

    with pytest.raises(FullStoryKilledError):
        sensor.poke(context)


def test_a_sensor_that_is_killed_names_the_jobs_that_go_on(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(processing_seconds=60)
    job_ids = submit([GOOD], [GOOD])
    sensor = waiting(job_ids=job_ids)
    sensor.on_kill()
    sensor = waiting(job_ids=job_ids)
    sensor.poke(context)
    log = Mock()
    monkeypatch.setattr(type(sensor), "log", log)

    sensor.on_kill()

    [call] = log.warning.call_args_list
    assert f"working on 2 jobs, and cannot cancel them: {', '.join(job_ids)}." in call.args[0] % call.args[1:]
