"""Child processes that do not outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

Answer = TypeVar("Answer")

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


class ProcessDiedError(Exception):
    """Say that a child process ended by itself, and show the end of its log."""


@dataclass
class Process:
    """
    Run a command in a session of its own, with its output in a log file.

    The session is what makes it possible to end everything that the command starts in its turn. On Linux
    the command is also told to end when the thread that started it does, so that even a killed parent leaves
    nothing behind; hence start it from the main thread.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Start the command, also again after its end; its output is added to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                user=self.user,
                group=self.user,
                start_new_session=True,
                preexec_fn=self._end_with_parent,  # noqa: PLW1509
            )

    def check(self) -> None:
        """Raise `ProcessDiedError` when the command is no longer running."""
        code = self._popen.poll() if self._popen else None
        if code is not None:
            raise ProcessDiedError(f"{self.name} ended with exit code {code}. {self.log_tail()}")

    def has_succeeded(self) -> bool:
        """Return whether the command has ended well, and raise `ProcessDiedError` if it ended badly."""
        if self._popen and self._popen.poll() == 0:
            return True
        self.check()
        return False

    def stop(self, patience: float = 10) -> None:
        """Ask the command to end, and kill what is left of it after so many seconds."""
        if self._popen is None:
            return
        self._popen.send_signal(self.stop_signal)
        try:
            self._popen.wait(patience)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        self.kill()

    def kill(self) -> None:
        """Kill the command and everything that it started, without a warning."""
        if self._popen is None:
            return
        _kill_session(self._popen.pid)
        self._popen.wait()

    def log_tail(self, lines: int = 20) -> str:
        """Return where the log is, and its last lines."""
        tail = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"The end of its log, {self.log}:", *(f"    {line}" for line in tail)])

    def _end_with_parent(self) -> None:
        if LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, self.stop_signal)


def wait_for(
    what: str, ask: Callable[[], Answer | None], processes: Iterable[Process] = (), seconds: float = 120
) -> Answer:
    """
    Ask until there is an answer that counts as true, and return it.

    It ends early, with `ProcessDiedError`, when one of the processes that it depends on has ended.
    """
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds:.0f} seconds in vain for {what}.")
        time.sleep(0.1)
    return answer


def _kill_session(session: int) -> None:
    # What is being killed may still start something, so look again until nothing is left.
    while members := [process for process in psutil.process_iter() if _is_alive_in(session, process)]:
        for process in members:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(members, timeout=1)


def _is_alive_in(session: int, process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
