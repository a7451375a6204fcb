"""The time in which at least one of several threads waits for the same thing."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stopwatch:
    """Add up the time in which at least one thread waits. Threads that wait together count once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._since = 0.0
        self._before = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a wait."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self._before += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """The seconds so far, including those of a wait that goes on."""
        with self._lock:
            return self._before + (time.monotonic() - self._since if self._waiting else 0.0)
