"""When a request that failed is sent again, and what is known of one whose answer was lost."""

from __future__ import annotations

import dataclasses
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import tenacity
from tenacity.stop import stop_any, stop_base, stop_before_delay, stop_when_event_set

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryError,
    FullStoryRateLimitError,
)
from airflow_provider_fullstory.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Self

    from airflow_provider_fullstory.api.protocol import Call

#: Hundreds of answers of 429 in a row are logged once a minute.
_SECONDS_BETWEEN_LIMIT_LINES: Final = 60.0
_SECONDS_BETWEEN_CLOSING_CHECKS: Final = 0.5

T = TypeVar("T")


class UnknownOutcome(stop_base):
    """
    Remember over the attempts of a call since when FullStory may have done it without an answer.

    As a stop, it ends the attempts before FullStory no longer recognizes the request.
    """

    def __init__(self, call: Call[Any]) -> None:
        # Not the call itself: tenacity's objects are in a cycle, which would keep the body in memory.
        self._repeatable_for = call.repeatable_for
        self._since = call.sent_before
        self._in_doubt = call.in_doubt

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        """Return whether the next attempt would come too late."""
        return not self._is_repeatable(retry_state.upcoming_sleep)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """
        Watch one attempt: a later error does not undo that an earlier attempt may have worked.

        :raises FullStoryAmbiguousError: If FullStory may no longer recognize the request.
        """
        if not self._is_repeatable():
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

    @contextmanager
    def attempts(self) -> Iterator[None]:
        """Watch all attempts: the last error says what is unknown, whichever attempt left it so."""
        try:
            yield
        except FullStoryError as error:
            if error.is_ambiguous and self._in_doubt:
                error.add(self._in_doubt)
            raise

    def _is_repeatable(self, wait: float = 0.0) -> bool:
        if self._since is None:
            return True
        # A clock that is set back must not make a request repeatable that never is.
        return self._repeatable_for > 0 and time.time() + wait < self._since + self._repeatable_for


class StopBeforeDeadline(stop_base):
    """
    Stop if the next attempt would begin after a deadline.

    :param deadline: Seconds since the epoch.
    :param passing: Failures that may last longer.
    """

    def __init__(self, deadline: float, passing: tuple[type[Exception], ...]) -> None:
        self._deadline = deadline
        self._passing = passing

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        """Return whether to stop."""
        if isinstance(failure_of(retry_state), self._passing):
            return False
        return time.time() + retry_state.upcoming_sleep >= self._deadline


class StopBeforeFaultsLast(stop_base):
    """
    Stop if faults would last longer than a time at the next attempt.

    :param seconds: The time.
    :param passing: Failures that do not count. A fault after one has the whole time: FullStory was there
        meanwhile.
    """

    def __init__(self, seconds: float, passing: tuple[type[Exception], ...]) -> None:
        self._seconds = seconds
        self._passing = passing
        self._since: float | None = 0.0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        """Return whether to stop."""
        if isinstance(failure_of(retry_state), self._passing):
            self._since = None
            return False
        passed = retry_state.seconds_since_start or 0.0
        if self._since is None:
            self._since = passed
        return passed - self._since + retry_state.upcoming_sleep >= self._seconds


class StopBeforeLimitLasts(stop_before_delay):
    """Stop if the answer is 429 and the next attempt would come later than a time after the first."""

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        """Return whether to stop."""
        return isinstance(failure_of(retry_state), FullStoryRateLimitError) and super().__call__(retry_state)


@dataclasses.dataclass(frozen=True, slots=True)
class RetryBudget:
    """
    How long a call may be sent again.

    :param retry_for: Seconds for which a fault may last; 0 sends each request once.
    :param rate_limited_for: Seconds for which the answer may be 429; None if that is a fault like others.
    :param deadline: When no attempt may begin any more, in seconds since the epoch. After 429 only
        ``rate_limited_for`` counts: the caller that waits for FullStory's limits ends the wait itself.
    """

    retry_for: float
    rate_limited_for: float | None
    deadline: float | None

    @property
    def is_empty(self) -> bool:
        """Whether each request is sent once."""
        return not self.retry_for and not self.rate_limited_for

    def stop(self) -> stop_base:
        """Return the condition at which a call has used up the budget."""
        passing = () if self.rate_limited_for is None else (FullStoryRateLimitError,)
        stop: stop_base = StopBeforeFaultsLast(self.retry_for, passing)
        if self.rate_limited_for is not None:
            stop |= StopBeforeLimitLasts(self.rate_limited_for)
        if self.deadline is not None:
            stop |= StopBeforeDeadline(self.deadline, passing)
        return stop


class Retries:
    """
    Send calls again if that can help, and count how often.

    :param warn: Logs a line, with arguments for its placeholders.
    """

    def __init__(self, warn: Callable[..., None]) -> None:
        #: How many requests were sent again.
        self.count = 0
        #: How many requests of tasks were answered with 429.
        self.rate_limited = 0
        #: The time in which requests of tasks waited after 429.
        self.limit_waits = Stopwatch()
        self._warn = warn
        self._closing = threading.Event()
        self._limited = threading.Lock()
        self._next_limit_line_at = 0.0

    def call(self, call: Call[T], send: Callable[[], T], budget: RetryBudget) -> T:
        """
        Return the result of a call; other threads may send other calls at the same time.

        Whatever interrupts a wait between two attempts has the failure of the last attempt as its cause.
        """
        outcome, closing, last = UnknownOutcome(call), self._closing, LastFailure()

        with last, RateLimitTurn(self._limited, closing) as turn, ExitStack() as limit_wait:

            def before_sleep(state: tenacity.RetryCallState) -> None:
                last.failure = failure_of(state)
                self._note(state)
                if isinstance(last.failure, FullStoryRateLimitError):
                    limit_wait.enter_context(self.limit_waits.running())
                    turn.wait()

            def attempt() -> T:
                limit_wait.close()
                if last.failure is not None and closing.is_set():
                    # The wait was cut short, and nothing is sent any more.
                    raise last.failure
                last.failure = None
                with outcome.attempt(), self._counting_limits():
                    return send()

            options = self._options(stop_any(budget.stop(), stop_when_event_set(closing), outcome))
            options |= {"sleep": tenacity.sleep_using_event(closing), "before_sleep": before_sleep}
            with outcome.attempts():
                return tenacity.Retrying(**options)(attempt)

    async def call_async(self, call: Call[T], send: Callable[[], Awaitable[T]], budget: RetryBudget) -> T:
        """Return the result of a call, in an event loop; see :meth:`call`."""
        outcome, last = UnknownOutcome(call), LastFailure()

        def before_sleep(state: tenacity.RetryCallState) -> None:
            last.failure = failure_of(state)
            self._note(state)

        async def attempt() -> T:
            last.failure = None
            with outcome.attempt():
                return await send()

        with outcome.attempts():
            if budget.is_empty:
                # Retrying would take a fifth of the processor time of a thousand waits.
                return await attempt()
            options = self._options(stop_any(budget.stop(), outcome)) | {"before_sleep": before_sleep}
            with last:
                return await tenacity.AsyncRetrying(**options)(attempt)

    def close(self) -> None:
        """End the retries of calls that are in flight; later calls are retried as before."""
        self._closing.set()
        self._closing = threading.Event()

    @contextmanager
    def _counting_limits(self) -> Iterator[None]:
        try:
            yield
        except FullStoryRateLimitError:
            self.rate_limited += 1
            raise

    def _options(self, stop: stop_base) -> dict[str, Any]:
        """Return the arguments that both kinds of tenacity's retrying take."""
        return {
            "retry": tenacity.retry_if_exception(protocol.is_transient),
            "wait": lambda state: protocol.retry_seconds(failure_of(state), state.attempt_number),
            "stop": stop,
            "reraise": True,
        }

    def _note(self, state: tenacity.RetryCallState) -> None:
        """Count a retry, and log it."""
        self.count += 1
        failure = failure_of(state)
        if not isinstance(failure, FullStoryRateLimitError):
            self._warn("%s Trying again in %.1f s.", failure, state.upcoming_sleep)
        elif (now := time.monotonic()) >= self._next_limit_line_at:
            self._next_limit_line_at = now + _SECONDS_BETWEEN_LIMIT_LINES
            self._warn(
                "%s The request is repeated until FullStory takes it: %d attempts in %.0f s so far.",
                failure,
                state.attempt_number,
                state.seconds_since_start or 0.0,
            )


class LastFailure:
    """
    Make the failure of the last attempt the cause of what interrupts the wait for the next one.

    Airflow ends tasks by exceptions of its own; the cause then says what is known of the request.
    """

    def __init__(self) -> None:
        #: None while a request is under way.
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, interruption: BaseException | None, traceback: object) -> None:
        # Its traceback leads to the body, and garbage may be collected rarely.
        failure, self.failure = self.failure, None
        if interruption is not None and failure is not None and not isinstance(interruption, FullStoryError):
            interruption.__cause__ = failure


class RateLimitTurn:
    """
    Let only one of several requests that are answered with 429 be repeated; a context manager for one.

    Each may carry a batch of many megabytes, and if FullStory does not take one, it takes none.

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
        """Wait until no other request is repeated; this one then is, until it is done."""
        while not self._is_mine and not self._closing.is_set():
            self._is_mine = self._taken.acquire(timeout=_SECONDS_BETWEEN_CLOSING_CHECKS)


def failure_of(state: tenacity.RetryCallState) -> BaseException:
    """Return what the last attempt failed with."""
    error = state.outcome.exception() if state.outcome else None
    return error or FullStoryError("The request failed.")
