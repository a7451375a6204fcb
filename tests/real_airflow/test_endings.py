"""A task that is ended early logs which jobs continue, and the next try continues with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.services import AIRFLOW_VERSION
from tests.real_airflow.orders import ORDERS
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from demo.services import Services

HOUR = 3600
TASK = "import_orders"
BATCHES = 3


def begin(services: Services, dag_id: str) -> Run:
    """Run an import up to where FullStory has accepted everything, which it will take an hour over."""
    services.emulator.configure(processing_seconds=HOUR)
    run = Run.trigger(services, dag_id)
    run.wait("the batches to be accepted", lambda: len(services.emulator.jobs()) == BATCHES)
    return run


def finish(run: Run) -> None:
    """Let the hour pass, and check that everything is there once, from the jobs of the first try."""
    services = run.services
    services.emulator.advance_clock(HOUR)
    run.wait("the task to succeed", lambda: run.tasks()[0].state == "success")
    accepted = [job["id"] for job in services.emulator.jobs()]
    assert len(accepted) == BATCHES
    report = run.result(TASK)
    assert (report["records"], report["imported"], report["batches"]) == (len(ORDERS), len(ORDERS), BATCHES)
    assert sorted(report["job_ids"]) == sorted(accepted)
    imported = [event["properties"]["order_id"] for event in run.events()]
    assert sorted(imported) == [order.order_id for order in ORDERS]


def clear(run: Run) -> None:
    """Clear the task, and keep what it has noted: Airflow 3.4 would throw that away."""
    api = run.services.airflow.api
    api.clear(run.dag_id, run.run_id, TASK, keep_task_state=AIRFLOW_VERSION >= (3, 4))


def polls(services: Services) -> int:
    """Return how often a job was polled; a task that defers does so once before."""
    return sum(request["method"] == "GET" for request in services.emulator.requests())


def assert_names_jobs(run: Run) -> None:
    """Check that the log says which jobs continue, once the end was noticed."""
    run.wait_for_log(TASK, "FullStory may still be working on 3 jobs, and cannot cancel them: ")
    [*sentences] = run.logs(TASK).split("cannot cancel them: ")[1:]
    assert all(job["id"] in sentences[0] for job in run.services.emulator.jobs())


@pytest.mark.parametrize("ending", ["failed", "cleared"])
def test_a_task_that_is_ended_while_it_polls(services: Services, ending: str) -> None:
    run = begin(services, "endings_polling")
    run.wait_for_try(1, "running")
    run.wait_for_log(TASK, "All is sent: 3 batches with 540 records in this try")
    if ending == "failed":
        run.services.airflow.api.mark_failed(run.dag_id, run.run_id, TASK)
        assert_names_jobs(run)
        run.wait_for_log(TASK, "FullStoryKilledError")
        assert run.tasks()[0].state == "failed"
    clear(run)
    if ending == "cleared":
        assert_names_jobs(run)
    run.wait_for_try(2, "running")
    run.wait_for_log(TASK, "Earlier tries have sent all 3 batches with 540 records: nothing is sent again")
    finish(run)


@pytest.mark.parametrize("ending", ["failed", "cleared"])
def test_a_task_that_is_ended_while_it_is_deferred(services: Services, ending: str) -> None:
    run = begin(services, "endings_deferred")
    run.wait_for_try(1, "deferred")
    run.wait("the triggerer to poll all jobs", lambda: polls(services) > BATCHES)
    if ending == "failed":
        run.services.airflow.api.mark_failed(run.dag_id, run.run_id, TASK)
    else:
        clear(run)
    assert_names_jobs(run)
    if ending == "failed":
        clear(run)
    run.wait_for_try(2, "deferred")
    finish(run)


@pytest.mark.parametrize("dag_id", ["endings_execution_timeout", "endings_timeout"])
def test_time_that_is_up_while_the_task_polls(services: Services, dag_id: str) -> None:
    run = begin(services, dag_id)
    run.wait_for_try(2, "running")
    assert_names_jobs(run)
    finish(run)


def test_time_that_is_up_in_the_triggerer_whatever_happens_to_that(services: Services) -> None:
    run = begin(services, "endings_execution_timeout_deferred")
    run.wait_for_try(1, "deferred")
    triggerer = services.airflow.components["triggerer"]
    triggerer.kill()
    triggerer.start()
    run.wait_for_try(2, "deferred")
    assert_names_jobs(run)
    assert "The import did not finish within 1" in run.logs(TASK)
    finish(run)


def test_a_finished_import_that_is_cleared_runs_again_and_sends_nothing(services: Services) -> None:
    run = begin(services, "endings_deferred")
    finish(run)
    # Cleared while its scheduler is still taking note of the end of a try, a task may get stuck.
    run.wait_for_success()
    clear(run)
    run.wait_for_try(2, "success")
    posts = [request for request in services.emulator.requests() if request["method"] == "POST"]
    assert len(posts) == BATCHES
    finish(run)
