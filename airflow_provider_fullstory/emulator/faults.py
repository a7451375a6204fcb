"""Faults that can be ordered: what can go wrong between a client and FullStory."""

from __future__ import annotations

import asyncio
import fnmatch
from typing import Annotated, Literal

import msgspec


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """
    Describe what is to go wrong, and for which requests.

    :param method: Requests with this method only; any when empty.
    :param path: Requests whose path matches only; ``*`` stands for anything, so ``*/errors`` for those of any
        job. Paths are compared as they were sent, so a job id has its reserved characters percent-encoded.
    :param after: How many matching requests go well before.
    :param times: How many requests are hit after that.
    :param delay_seconds: How long to wait before anything else happens.
    :param status: Status to answer with, instead of doing the work.
    :param headers: Headers of that answer, such as ``Retry-After``.
    :param body: JSON of that answer; by default an error object whose code fits the status, and below 300 an
        empty object, which with 202 is FullStory's answer for results that are not there yet.
    :param work_done: Do the work first and then give that answer, like a gateway that lost the real one.
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
        """
        Tell whether a request is one of those meant.

        :param method: Its method.
        :param path: Its path as it was sent, without the query.
        """
        return self.method in {"", method} and fnmatch.fnmatchcase(path, self.path)


class Faults:
    """Keep the faults that were ordered and have not all happened yet."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []
        self._forgotten = asyncio.Event()

    def ordered(self) -> list[Fault]:
        """Return what is still to happen."""
        return list(self._ordered)

    def order(self, fault: Fault) -> None:
        """
        Order a fault, behind those that were ordered before.

        :param fault: What is to happen.
        """
        self._ordered.append(fault)

    def forget(self) -> None:
        """Cancel everything; requests that are being delayed are aborted."""
        self._ordered.clear()
        self._forgotten.set()
        self._forgotten = asyncio.Event()

    def take(self, method: str, path: str) -> Fault | None:
        """
        Return the fault that hits a request, if one does, and count it.

        Every fault that is ordered for such a request counts it while it waits for its turn.

        :param method: Method of the request.
        :param path: Its path as it was sent, without the query.
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
        Wait, unless everything is forgotten meanwhile.

        :param seconds: How long.
        :raises ConnectionAbortedError: If it was forgotten: nothing of one test is to happen in the next.
        """
        forgotten = self._forgotten
        try:
            await asyncio.wait_for(forgotten.wait(), seconds)
        except TimeoutError:
            return
        raise ConnectionAbortedError
