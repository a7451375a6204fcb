"""Outages of a storage, which are waited out for some minutes."""

from __future__ import annotations

import errno
import logging
import time
from typing import TYPE_CHECKING, Final, TypeVar

import tenacity

from airflow_provider_fullstory.exceptions import FullStoryStorageError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds for which an outage is waited out, as long as an outage of FullStory.
OUTAGE_SECONDS: Final = 300.0
_LONGEST_PAUSE: Final = 15.0
_SECONDS_BETWEEN_CHECKS: Final = 0.2
#: A storage that answers with these is reachable.
_NO_OUTAGE: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)

log = logging.getLogger(__name__)
T = TypeVar("T")


class Outages:
    """
    Repeat an operation on a storage while it is out of reach, for up to five minutes. Threads may share it.

    The first operation of each kind is not repeated, so that a wrong URI or a missing permission shows at
    once. If the storage is out of reach before anything was sent, the task fails and can be retried.
    """

    def __init__(self) -> None:
        self._proven: set[str] = set()
        self._is_closing = False

    def outlast(self, kind: str, use: Callable[[], T]) -> T:
        """
        Return the result of an operation on the storage.

        :param kind: The kind of operation, such as ``write``.
        :param use: The operation. It may be called again after it raised ``FullStoryStorageError``.
        """
        if kind not in self._proven:
            result = use()
            self._proven.add(kind)
            return result
        has_lasted_too_long = tenacity.stop_after_delay(OUTAGE_SECONDS)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=tenacity.wait_random_exponential(max=_LONGEST_PAUSE),
            stop=lambda state: self._is_closing or has_lasted_too_long(state),
            sleep=self._sleep,
            before_sleep=_log_outage,
            reraise=True,
        )
        return retrying(use)

    def close(self) -> None:
        """Stop waiting out outages, since the task must end. May be called from a signal handler."""
        self._is_closing = True

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._is_closing and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SECONDS_BETWEEN_CHECKS))


def _may_pass(error: BaseException) -> bool:
    """Return whether an outage may have caused an error."""
    cause = error.__cause__
    # Libraries of storages raise PermissionError without a number.
    is_final = isinstance(cause, PermissionError) or getattr(cause, "errno", None) in _NO_OUTAGE
    return isinstance(error, FullStoryStorageError) and not is_final


def _log_outage(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s Trying again in %.1f s.", error, state.upcoming_sleep)
