"""A task whose process is killed while it sends is sent to its end by the next try, each record once."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from demo.services import AIRFLOW_VERSION
from tests.real_airflow.orders import ORDERS
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.services import Services

pytestmark = [pytest.mark.all_airflows, pytest.mark.matrix]
TASK = "import_orders"
BATCHES = 27


def task_processes(services: Services) -> Iterator[psutil.Process]:
    """Yield the processes that work for a task; those between them and the executor only watch them."""
    scheduler = services.airflow.components["scheduler"].session
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            title = " ".join(process.cmdline())
            if title.startswith("airflow worker -- LocalExecutor") and os.getsid(process.pid) == scheduler:
                yield from (child for child in process.children(recursive=True) if not child.children())


def kill_task(services: Services) -> bool:
    """Kill what runs a task, and return whether there was something."""
    processes = list(task_processes(services))
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    return bool(processes)


def test_a_killed_task_that_had_staged_its_batches(services: Services) -> None:
    # The fourth batch gets no answer, so that the task cannot end before it is killed.
    services.emulator.order_fault(method="POST", after=3, delay_seconds=600)
    run = Run.trigger(services, "kills")
    run.wait("three batches to be accepted", lambda: len(services.emulator.jobs()) == 3)
    assert kill_task(services)
    services.emulator.forget_faults()
    if AIRFLOW_VERSION == (3, 0):
        # It does not retry a task that was killed; a clear does, once the run has ended.
        api = services.airflow.api
        run.wait("the run to fail", lambda: api.run_state(run.dag_id, run.run_id) == "failed")
        api.clear(run.dag_id, run.run_id, TASK)
    run.wait("the task to succeed", lambda: run.tasks()[0].state == "success")
    assert run.tasks()[0].try_number == 2
    report = run.result(TASK)
    assert (report["records"], report["imported"], report["batches"]) == (len(ORDERS), len(ORDERS), BATCHES)
    imported = [event["properties"]["order_id"] for event in run.events()]
    assert sorted(imported) == [order.order_id for order in ORDERS]
    assert len(services.emulator.jobs()) == BATCHES
    assert "are not sent again" in run.logs(TASK)
