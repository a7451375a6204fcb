"""Child processes that do not outlive the one that started them."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from demo.guardian import kill_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Answer = TypeVar("Answer")


class ProcessDiedError(Exception):
    """Say that a child process ended by itself, and show the end of its log."""


@dataclass
class Process:
    """
    Run a command in its own session, with its output in a log file.

    The session is what makes it possible to end everything that the command starts in its turn. A guardian
    does so when this process ends without having done it, even when it is killed.
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
            )
        _tell_guardian(f"+{self._popen.pid}")

    @property
    def session(self) -> int:
        """The session of the command, which is also its process id."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was not started.")
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether the command was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def abandon(self) -> int:
        """Kill the command alone, and return the session in which what it started may go on."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was not started.")
        # Popen's own kill ends the command only, not its session.
        self._popen.kill()
        self._popen.wait()
        return self._popen.pid

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
        """Ask the command to end, and kill what is left of it after some seconds."""
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
        kill_session(self._popen.pid)
        self._popen.wait()
        _tell_guardian(f"-{self._popen.pid}")

    def log_tail(self, lines: int = 20) -> str:
        """Return where the log is, and its last lines."""
        tail = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"The end of its log, {self.log}:", *(f"    {line}" for line in tail)])


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


def _tell_guardian(message: str) -> None:
    guardian = _guardian()
    if guardian.stdin is None:
        raise RuntimeError("The guardian has no standard input.")
    guardian.stdin.write(f"{message}\n")
    guardian.stdin.flush()


@functools.cache
def _guardian() -> subprocess.Popen[str]:
    # In its own session, so that no Ctrl-C meant for us ends it.
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("guardian.py"))],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
