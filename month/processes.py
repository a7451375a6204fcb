"""Tries of tasks, each in a process of its own, which can be killed like that of a worker."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.syncs.hold import Times, take
from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds
from airflow_provider_fullstory.task.source import RecordSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

#: A process that was killed holds its sync for seconds, not for minutes.
TIMES: Final = Times(renewal=0.5, valid=5.0, over=7.0, poll=0.05)
_SECONDS_TO_COMMIT: Final = 10.0
_MOST_SECONDS: Final = 120.0
log = logging.getLogger("month")
_FORK: Final = multiprocessing.get_context("fork")


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


@dataclass(frozen=True)
class Kill:
    """
    When a try is killed.

    :param write: At which write to the state's folder, from 1.
    :param is_done: Whether that write takes effect.
    """

    write: int
    is_done: bool


@dataclass
class Run:
    """
    One run of a task, with what Airflow knows of it.

    :param dag_id: Its DAG.
    :param run_id: Its run.
    :param arguments: The operator's arguments.
    :param started_at: When it started, in seconds since the epoch.
    :param conf: The configuration of the DAG run.
    """

    dag_id: str
    run_id: str
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
            with self._surroundings(parent):
                return Ending("success", report=self._execute())
        except TaskDeferred as deferred:
            path, arguments = deferred.trigger.serialize()
            return Ending("deferred", deferral=Deferral(path, json.dumps(arguments), deferred.method_name))
        except Exception as error:
            log.exception("The try failed.")
            report = getattr(error, "report", None)
            return Ending("failed", report=report, error=type(error).__name__, message=str(error))

    def _execute(self) -> dict[str, Any]:
        instance = _TaskInstance(self._run)
        context: Any = {
            "ti": instance,
            "task_instance": instance,
            "run_id": self._run.run_id,
            "dag_run": _DagRun(self._run),
        }
        operator = FullStoryImportEventsOperator(task_id=self._run.task_id, **self._arguments)
        if self._deferral is None:
            return operator.execute(context)
        module, _, name = self._deferral.trigger.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**json.loads(self._deferral.arguments))
        event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
        report: dict[str, Any] = getattr(operator, self._deferral.method)(context, event=event)
        return report

    @contextmanager
    def _surroundings(self, parent: Connection) -> Iterator[None]:
        """Let the process live at its time, die at its write, and be quick otherwise."""
        package = "airflow_provider_fullstory"
        now, ahead = time.time, self._ahead
        patches = [
            patch("time.time", lambda: now() + ahead),
            patch(f"{package}.syncs.sync.take", partial(take, times=TIMES)),
            patch(f"{package}.syncs.sync._SECONDS_BETWEEN_LOOKS", 0.1),
            # There are few ids, and their files are to be merged all the same.
            patch(f"{package}.syncs.insert_ids.imported_ids._PART_BITS", 6),
            patch(f"{package}.syncs.insert_ids.imported_ids._FEW_FILES", 10),
            patch.dict(ImportedIds.__init__.__kwdefaults__, filter_bits=14),
            patch(f"{package}.triggers.fullstory._worker_exit_seconds", lambda: 0.0),
            patch(f"{package}.api.protocol.FIRST_RETRY_SECONDS", 0.01),
            patch(f"{package}.task.import_run.RETRY_FOR", 0.3),
        ]
        if self._arguments.get("deferrable"):
            # The jobs of a small import are often finished at the first poll.
            patches.append(patch.object(Importer, "poll", lambda _, jobs: None if jobs else []))
        if self._commits is not None:
            patches.append(patch.object(RecordSource, "open", _committing(parent)))
        if self._kill is not None:
            dying = _Dying(self._kill)
            patches.append(patch.object(Folder, "write", dying.version(Folder.write)))
            patches.append(patch.object(Folder, "create", dying.version(Folder.create)))
        for each in patches:
            each.start()
        yield


def _committing(parent: Connection) -> Callable[..., Any]:
    """Return a version of `RecordSource.open` that lets others commit before the first row is read."""
    original = RecordSource.open

    @contextmanager
    def opened(source: RecordSource, *arguments: Any) -> Iterator[Any]:
        with original(source, *arguments) as result:
            parent.send("reading")
            parent.poll(_SECONDS_TO_COMMIT)
            yield result

    return opened


class _Dying:
    """
    Kill this process at one of its writes.

    :param kill: At which.
    """

    def __init__(self, kill: Kill) -> None:
        self._kill = kill
        self._count = 0
        self._lock = threading.Lock()

    def version(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a version of a method that dies when it is time."""

        def method(folder: Folder, *arguments: Any) -> Any:
            with self._lock:
                self._count += 1
                is_time = self._count == self._kill.write
            if is_time and not self._kill.is_done:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(folder, *arguments)
            if is_time:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return method
