"""How long one request may take as a whole, even if its bytes keep coming."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.hooks.settings import CONNECT_TIMEOUT

if TYPE_CHECKING:
    from airflow_provider_fullstory.api.http import Request

#: Bytes a second below which a request is given up; a batch or a page of many megabytes gets its time.
SLOWEST: Final = 50_000


class TimeLimit:
    """
    The time that a request may still take, from now on.

    A request has time to connect, the connection's ``timeout``, and time for its bytes in both directions at
    50 kB a second; but no time after the caller's deadline.

    :param timeout: The connection's ``timeout``, in seconds.
    :param size: Bytes to send.
    :param deadline: When the caller has no more use for an answer, in seconds since the epoch.
    """

    def __init__(self, timeout: float, size: int = 0, deadline: float | None = None) -> None:
        self._began_at = time.monotonic()
        self._ends_at = self._began_at + CONNECT_TIMEOUT + timeout + size / SLOWEST
        self._deadline = math.inf if deadline is None else self._began_at + deadline - time.time()

    @classmethod
    def of(cls, request: Request, timeout: float, deadline: float | None) -> TimeLimit:
        """Return the limit of a request that begins now, given the connection's ``timeout``."""
        return cls(timeout, 0 if request.body is None else len(request.body), deadline)

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, min(self._ends_at, self._deadline) - time.monotonic())

    @property
    def passed(self) -> float:
        """Seconds that have passed."""
        return time.monotonic() - self._began_at

    def received(self, size: int) -> None:
        """Allow time for bytes of the answer that have arrived."""
        self._ends_at += size / SLOWEST
