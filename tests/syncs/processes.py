"""Processes that hold a sync, which tests kill and suspend."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Self

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryError
from airflow_provider_fullstory.syncs.hold import Times, take

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_LONGEST_ANSWER = 60.0


class Holding:
    """
    Run a process that takes, checks and releases holds as it is told.

    :param uri: The folder of the sync.
    :param times: The pace of the hold.
    """

    def __init__(self, uri: str, times: Times = Times()) -> None:  # noqa: B008
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_obey, args=(uri, times, theirs), daemon=True)
        self._process.start()
        theirs.close()
        assert self.answer() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def tell(self, order: str) -> None:
        """Order it to ``take``, ``check`` or ``release``."""
        self._pipe.send(order)

    def answer(self) -> str:
        """Return its answer: ``done``, or the name of an error."""
        assert self._pipe.poll(_LONGEST_ANSWER)
        answer: str = self._pipe.recv()
        return answer

    def ask(self, order: str) -> str:
        """Return its answer to an order."""
        self.tell(order)
        return self.answer()

    def suspend(self) -> None:
        """Suspend it, as a debugger or a frozen machine does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, so that it cannot release its hold."""
        self._signal(signal.SIGKILL)
        self._process.join(_LONGEST_ANSWER)

    def _signal(self, number: int) -> None:
        assert self._process.pid
        if self._process.is_alive():
            os.kill(self._process.pid, number)


def _obey(uri: str, times: Times, pipe: Connection) -> None:
    folder = Folder(ObjectStoragePath(uri))
    hold: Any = None
    pipe.send("ready")
    while True:
        order = pipe.recv()
        try:
            if order == "take":
                hold = take(folder, f"process {os.getpid()}", deadline=time.time(), times=times)
            elif order == "check":
                hold.check()
            else:
                hold.release()
        except FullStoryError as error:
            pipe.send(type(error).__name__)
        else:
            pipe.send("done")
