"""Faults: what can go wrong between a client and FullStory."""

from __future__ import annotations

import asyncio
import fnmatch
from typing import Annotated, Literal

import msgspec


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """
    Describe a fault, and the requests that it applies to.

    :param method: Apply to requests with this method only; to any when empty.
    :param path: Apply to requests with this path only; ``*`` stands for anything, so ``*/errors`` matches
        every job. Paths are compared as they were sent, with job ids percent-encoded.
    :param after: Number of matching requests that succeed first.
    :param times: Number of requests that fail after those.
    :param delay_seconds: Seconds to wait before anything else happens.
    :param status: Status to answer with, instead of doing the work.
    :param headers: Headers of that answer, such as ``Retry-After``.
    :param body: JSON of that answer; by default an error object whose code fits the status, or below 300 an
        empty object. With 202 that is FullStory's answer while results are not available.
    :param work_done: Do the work first and then give that answer, like a gateway that lost the real answer.
    :param reset: Abort the connection ``before`` or ``after`` the work was done.
    """

    method: str = ""
    path: str = "*"
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    delay_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw()
    work_done: bool = False
    reset: Literal["before", "after"] | None = None

    def matches(self, method: str, path: str) -> bool:
        """Return whether the fault applies to a request; its path is as it was sent, without the query."""
        return self.method in {"", method} and fnmatch.fnmatchcase(path, self.path)


class Faults:
    """Keep the faults that are still to happen."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []
        self._forgotten = asyncio.Event()

    def ordered(self) -> list[Fault]:
        """Return the faults that are still to happen."""
        return list(self._ordered)

    def order(self, fault: Fault) -> None:
        """Add a fault after those that were ordered before."""
        self._ordered.append(fault)

    def forget(self) -> None:
        """Cancel everything; requests that are being delayed are aborted."""
        self._ordered.clear()
        self._forgotten.set()
        self._forgotten = asyncio.Event()

    def take(self, method: str, path: str) -> Fault | None:
        """
        Return the fault that applies to a request, if any, and count the request.

        Each matching fault that still lets requests succeed counts the request too.
        """
        for place, fault in enumerate(self._ordered):
            if fault.matches(method, path):
                if fault.after > 0:
                    self._ordered[place] = msgspec.structs.replace(fault, after=fault.after - 1)
                    continue
                if fault.times > 1:
                    self._ordered[place] = msgspec.structs.replace(fault, times=fault.times - 1)
                else:
                    del self._ordered[place]
                return fault
        return None

    async def delay(self, seconds: float) -> None:
        """
        Wait, unless the faults are cancelled meanwhile.

        :raises ConnectionAbortedError: If they were cancelled; a fault must not reach the next test.
        """
        forgotten = self._forgotten
        try:
            await asyncio.wait_for(forgotten.wait(), seconds)
        except TimeoutError:
            return
        raise ConnectionAbortedError
