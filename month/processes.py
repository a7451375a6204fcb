"""Tries of tasks, each in a process of its own, which can be killed like that of a worker."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import multiprocessing
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import TaskDeferred

from month.surroundings import ask_before_reading, defer_always, die_at, hurry, move_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
    from month.surroundings import Kill

#: No try takes so long, even on a busy machine.
_MOST_SECONDS: Final = 300.0
_FORK: Final = multiprocessing.get_context("fork")

log = logging.getLogger("month")


@dataclass(frozen=True)
class Deferral:
    """
    What Airflow keeps of a deferred task.

    :param trigger: The path of its trigger.
    :param arguments: The trigger's arguments, as JSON.
    :param method: The operator's method that goes on.
    """

    trigger: str
    arguments: str
    method: str


@dataclass(frozen=True)
class Ending:
    """
    How a try ended.

    :param state: ``success``, ``deferred``, ``failed`` or ``killed``.
    :param report: The report, where there is one.
    :param deferral: What goes on after the wait.
    :param error: The type of the error.
    :param message: Its message.
    :param modules: What its process has imported.
    """

    state: str
    report: dict[str, Any] | None = None
    deferral: Deferral | None = None
    error: str = ""
    message: str = ""
    modules: Sequence[str] = ()


@dataclass
class Run:
    """
    One run of a task, with what Airflow knows of it.

    :param dag_id: Its DAG.
    :param run_id: Its run.
    :param operator: Its operator.
    :param arguments: The operator's arguments.
    :param started_at: When it started, in seconds since the epoch.
    :param conf: The configuration of the DAG run.
    """

    dag_id: str
    run_id: str
    operator: type[FullStoryImportOperator]
    arguments: dict[str, Any]
    started_at: float
    conf: dict[str, Any] = field(default_factory=dict)
    tries: int = 0
    clear_number: int = 0

    task_id = "sync"

    def clear(self, now: float) -> None:
        """Do what Airflow does when a person clears the task."""
        self.clear_number += 1
        self.started_at = now


class _DagRun:
    def __init__(self, run: Run) -> None:
        self.start_date = self.run_after = datetime.fromtimestamp(run.started_at, UTC)
        self.clear_number = run.clear_number
        self.conf = run.conf


class _TaskInstance:
    map_index = -1

    def __init__(self, run: Run) -> None:
        self.dag_id, self.run_id, self.task_id = run.dag_id, run.run_id, run.task_id
        self.try_number = run.tries

    def xcom_push(self, key: str, value: Any) -> None:
        """Take a value; nobody asks for it."""


class Try:
    """
    Start a try of a run, or what comes after its wait in the triggerer.

    :param run: The run.
    :param log: The file of its log.
    :param ahead: How far its clock is ahead of this machine's, in seconds.
    :param kill: When it is killed, None if it is not.
    :param commits: Called once the query has been given its rows, and before they are read.
    :param deferral: What goes on, None for a try from the start.
    :param changes: Arguments of the operator that are different in this try.
    """

    def __init__(
        self,
        run: Run,
        log: Path,
        ahead: float,
        *,
        kill: Kill | None = None,
        commits: Callable[[], None] | None = None,
        deferral: Deferral | None = None,
        **changes: Any,
    ) -> None:
        if deferral is None:
            run.tries += 1
        self._run = run
        self._log = log
        self._ahead = ahead
        self._kill = kill
        self._commits = commits
        self._deferral = deferral
        self._arguments = run.arguments | changes
        self._here, there = _FORK.Pipe()
        self._process = _FORK.Process(target=self._work, args=(there,), daemon=True)
        self._process.start()
        there.close()

    def end(self) -> Ending:
        """Wait until the process is gone, and return how the try ended."""
        deadline = time.monotonic() + _MOST_SECONDS
        ending = Ending("killed")
        try:
            while time.monotonic() < deadline:
                if not self._here.poll(0.5):
                    continue
                said = self._here.recv()
                if isinstance(said, Ending):
                    ending = said
                    break
                if self._commits is not None:
                    self._commits()
                self._here.send("committed")
            else:
                raise TimeoutError(f"A try of {self._run.run_id} did not end. Its log is {self._log}.")
        except (EOFError, ConnectionError):
            pass
        self._process.join()
        self._here.close()
        # So that the processes to come need not do it.
        for name in ending.modules:
            with suppress(ImportError):
                importlib.import_module(name)
        if ending.modules:
            gc.freeze()
        return ending

    # What follows happens in the process of the try.

    def _work(self, parent: Connection) -> None:
        self._here.close()
        for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, mode), descriptor)
        logging.basicConfig(filename=self._log, level=logging.INFO, force=True, format="%(message)s")
        log.info("--- %s, try %d%s", self._run.run_id, self._run.tries, " resumed" * bool(self._deferral))
        known = set(sys.modules)
        ending = self._ending(parent)
        log.info("--- %s: %s", ending.state, ending.message or ending.report)
        parent.send(replace(ending, modules=[name for name in sys.modules if name not in known]))
        parent.close()
        logging.shutdown()
        os._exit(0)

    def _ending(self, parent: Connection) -> Ending:
        try:
            self._surround(parent)
            return Ending("success", report=self._execute())
        except TaskDeferred as deferred:
            path, arguments = deferred.trigger.serialize()
            return Ending("deferred", deferral=Deferral(path, json.dumps(arguments), deferred.method_name))
        except Exception as error:
            log.exception("The try failed.")
            report = getattr(error, "report", None)
            return Ending("failed", report=report, error=type(error).__name__, message=str(error))

    def _surround(self, parent: Connection) -> None:
        move_clock(self._ahead)
        hurry()
        if self._arguments.get("deferrable"):
            defer_always()
        if self._commits is not None:
            ask_before_reading(parent)
        if self._kill is not None:
            die_at(self._kill)

    def _execute(self) -> dict[str, Any]:
        instance = _TaskInstance(self._run)
        context: Any = {
            "ti": instance,
            "task_instance": instance,
            "run_id": self._run.run_id,
            "dag_run": _DagRun(self._run),
        }
        operator = self._run.operator(task_id=self._run.task_id, **self._arguments)
        if self._deferral is None:
            return operator.execute(context)
        module, _, name = self._deferral.trigger.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**json.loads(self._deferral.arguments))
        event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
        report: dict[str, Any] = getattr(operator, self._deferral.method)(context, event=event)
        return report
