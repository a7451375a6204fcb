"""When a request that failed is sent again, and what is known of one whose answer was lost."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryError,
    FullStoryRateLimitError,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from typing import Self

    import tenacity

_SECONDS_BETWEEN_CLOSING_CHECKS = 0.5


class UnknownOutcome:
    """
    Remember over the attempts of one request since when FullStory may have done it without our knowing.

    :param since: When a request was sent that got no answer, in seconds since the epoch.
    """

    def __init__(self, since: float | None = None) -> None:
        self._since = since

    @contextmanager
    def watching(self) -> Iterator[None]:
        """
        Watch one attempt: a later refusal does not undo that an earlier attempt may have worked.

        :raises FullStoryAmbiguousError: Where FullStory may have forgotten the key.
        """
        if self.forbids(0):
            raise FullStoryAmbiguousError(
                "FullStory may have this batch, but would no longer recognize it: it was first sent almost "
                "24 hours ago, and no answer arrived. It was not sent again. Look for its records in "
                'FullStory; on_ambiguous="resend" sends them again.'
            )
        started_at = time.time()
        try:
            yield
        except FullStoryError as error:
            if self._since is None and error.is_ambiguous:
                self._since = started_at
            error.is_ambiguous = self._since is not None
            raise

    def forbids(self, wait: float) -> bool:
        """
        Return whether FullStory may have forgotten the key by the time of the next attempt.

        :param wait: Seconds until then.
        """
        return self._since is not None and time.time() + wait >= self._since + protocol.IDEMPOTENCY_SECONDS


class RetryLimit:
    """
    Say over the attempts of one request when to give it up.

    :param retry_for: Seconds for which a fault may last.
    :param rate_limited_for: Seconds for which the answer may be 429. A fault that comes after such answers
        has its own time: FullStory was there meanwhile.
    :param deadline: When the caller has no more use of an answer, in seconds since the epoch. After 429 only
        ``rate_limited_for`` counts: whoever waits for FullStory's limits ends the wait, and says so.
    """

    def __init__(self, retry_for: float, rate_limited_for: float | None, deadline: float | None) -> None:
        self._retry_for = retry_for
        self._rate_limited_for = rate_limited_for
        self._deadline = deadline
        self._faulty_since: float | None = 0.0

    def is_over(self, state: tenacity.RetryCallState) -> bool:
        """
        Return whether the next attempt would come too late.

        :param state: What was attempted so far.
        """
        passed = state.seconds_since_start or 0.0
        if self._rate_limited_for is not None and isinstance(failure_of(state), FullStoryRateLimitError):
            self._faulty_since = None
            return passed + state.upcoming_sleep >= self._rate_limited_for
        if self._deadline is not None and time.time() + state.upcoming_sleep >= self._deadline:
            return True
        if self._faulty_since is None:
            self._faulty_since = passed
        return passed - self._faulty_since + state.upcoming_sleep >= self._retry_for


class RateLimitTurn:
    """
    Have one of several requests that are answered with 429 ask again at a time; a context manager for one.

    Each may carry a batch of many megabytes, and what FullStory does not take from one it takes from none.

    :param taken: Shared by these requests.
    :param closing: Ends the wait.
    """

    def __init__(self, taken: threading.Lock, closing: threading.Event) -> None:
        self._taken = taken
        self._closing = closing
        self._is_mine = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_mine:
            self._taken.release()

    def wait(self) -> None:
        """Wait until no other one asks; this one then does so until it is done."""
        while not self._is_mine and not self._closing.is_set():
            self._is_mine = self._taken.acquire(timeout=_SECONDS_BETWEEN_CLOSING_CHECKS)


def failure_of(state: tenacity.RetryCallState) -> BaseException:
    """
    Return what the last attempt failed with.

    :param state: What was attempted so far.
    """
    error = state.outcome.exception() if state.outcome else None
    return error or FullStoryError("The request failed.")
