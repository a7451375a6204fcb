"""What is different for the process of a try: its clock, how long it waits, and when it dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.syncs.hold import Times, take
from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds
from airflow_provider_fullstory.task.source import RecordSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

#: A process that was killed holds its sync for seconds, not for minutes.
TIMES: Final = Times(renewal=0.5, valid=5.0, over=7.0, poll=0.05)
_SECONDS_TO_COMMIT: Final = 10.0
_PACKAGE: Final = "airflow_provider_fullstory"


@dataclass(frozen=True)
class Kill:
    """
    When a try is killed.

    :param write: At which write to the state's folder, from 1.
    :param is_done: Whether that write takes effect.
    """

    write: int
    is_done: bool


def move_clock(ahead: float) -> None:
    """
    Let this process live at another time.

    :param ahead: How far its clock is ahead of this machine's, in seconds.
    """
    now = time.time
    patch("time.time", lambda: now() + ahead).start()


def hurry() -> None:
    """Let this process wait for nothing that is not there, and merge and index files of few insert ids."""
    for name, value in {
        "syncs.sync.take": partial(take, times=TIMES),
        "syncs.sync._SECONDS_BETWEEN_LOOKS": 0.1,
        "syncs.insert_ids.imported_ids._FEW_FILES": 10,
        "syncs.insert_ids.older_ids._FEWEST_INDEXED": 50,
        "triggers.fullstory._worker_exit_seconds": lambda: 0.0,
        "api.protocol.FIRST_RETRY_SECONDS": 0.01,
        # The hours for which a run was deferred pass at once, but its pauses would grow with them.
        "batch_import.waiting.job_watch._SHARE_OF_AGE": 0.0001,
        "task.import_run.RETRY_FOR": 0.5,
    }.items():
        patch(f"{_PACKAGE}.{name}", value).start()
    patch.dict(ImportedIds.__init__.__kwdefaults__, filter_bits=14).start()


def defer_always() -> None:
    """Let deferrable tasks be deferred; the jobs of a small import are often finished at the first poll."""
    patch.object(Importer, "poll", lambda _, jobs: None if jobs else []).start()


def ask_before_reading(parent: Connection) -> None:
    """
    Let others commit once the query has been given its rows, and before the first is read.

    :param parent: Is told, and answers once that is done.
    """
    original = RecordSource.open

    @contextmanager
    def opened(source: RecordSource, *arguments: Any) -> Iterator[Any]:
        with original(source, *arguments) as result:
            parent.send("reading")
            parent.poll(_SECONDS_TO_COMMIT)
            yield result

    patch.object(RecordSource, "open", opened).start()


def die_at(kill: Kill) -> None:
    """
    Let this process die at one of its writes.

    :param kill: At which.
    """
    dying = _Dying(kill)
    for name in ("write", "create"):
        patch.object(Folder, name, dying.version(getattr(Folder, name))).start()


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
