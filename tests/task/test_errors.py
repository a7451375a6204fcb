"""What a callback finds in the exception of a failed task."""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_fullstory.exceptions import (
    FullStoryBadRequestError,
    FullStoryError,
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStorySourceError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from airflow_provider_fullstory.task.errors import airflow_error, without_retry
from tests.conftest import run
from tests.tries import REFUSED_BY_FULLSTORY, REFUSED_HERE, orders

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "batch_size": 10, **arguments}
    return FullStoryImportEventsOperator(**given)


@pytest.mark.parametrize("deferrable", [True, False])
def test_refused_records_come_with_the_report(
    emulator: EmulatorClient, context: Any, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.2)
    with pytest.raises(AirflowFailException) as caught:
        run(
            importing(events=[*orders(3), REFUSED_HERE, REFUSED_BY_FULLSTORY], deferrable=deferrable), context
        )

    error = caught.value
    assert isinstance(error, FullStoryRecordsRefusedError)
    assert error.report == context["ti"].xcoms["return_value"]
    assert [error.report[name] for name in ("records", "imported", "invalid", "rejected")] == [5, 3, 1, 1]
    assert (error.status_code, error.code, error.retry_after) == (None, None, None)


def test_a_wrong_argument_comes_without_a_report(emulator: EmulatorClient, context: Any) -> None:
    with pytest.raises(AirflowFailException) as caught:
        run(importing(events=[], poll_interval=-1), context)
    assert isinstance(caught.value, FullStoryInputError)
    assert caught.value.report is None
    assert caught.value.status_code is None


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_wait_that_takes_too_long_comes_with_the_report_so_far(
    emulator: EmulatorClient, context: Any, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(FullStoryTimeoutError) as caught:
        run(importing(events=orders(25), timeout=0.5, deferrable=deferrable), context)
    assert not isinstance(caught.value, AirflowFailException)
    assert caught.value.report is not None
    assert (caught.value.report["records"], caught.value.report["imported"]) == (25, None)


def test_a_sensor_whose_time_is_up_raises_what_airflow_and_callbacks_know(
    emulator: EmulatorClient, context: Any
) -> None:
    emulator.configure(processing_seconds=3600)
    submitted = importing(events=orders(5), wait_for_completion=False).execute(context)
    sensor = FullStoryImportJobSensor(
        task_id="wait", job_ids=submitted, deferrable=True, poke_interval=0.01, timeout=0.5
    )
    with pytest.raises(AirflowSensorTimeout) as caught:
        run(sensor, context)
    assert isinstance(caught.value, FullStoryTimeoutError)
    assert caught.value.report == submitted


def test_such_an_exception_survives_pickling() -> None:
    error = FullStoryBadRequestError("text", status_code=400, code="invalid_argument", retry_after=1.5)
    error.report = {"records": 3}

    read = pickle.loads(pickle.dumps(airflow_error(error, AirflowFailException)))

    assert isinstance(read, AirflowFailException)
    assert isinstance(read, FullStoryBadRequestError)
    assert (str(read), vars(read)) == ("text", vars(error))


@pytest.mark.parametrize(
    "error", [FullStoryInputError("What happened."), FullStoryTimeoutError("What happened.")]
)
def test_a_message_is_logged_once_and_in_few_lines(error: FullStoryError) -> None:
    def fail() -> None:
        raise error from ValueError("What happened.")

    with pytest.raises(FullStoryError) as caught, without_retry():
        fail()

    logged = "".join(traceback.format_exception(caught.value))
    assert logged.count("What happened.") == 1
    assert "in fail" not in logged


def test_what_a_source_raised_keeps_its_own_traceback() -> None:
    with pytest.raises(FullStorySourceError) as caught, without_retry():
        raise FullStorySourceError("The query failed.") from ValueError("the driver's own")

    assert "the driver's own" in "".join(traceback.format_exception(caught.value))
