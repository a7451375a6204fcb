"""
When a job is likely to be finished, so that polling it is worth a request.

No I/O, and no clock: times are seconds on a clock that only runs forward.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_fullstory.api.jobs import JobStatus

#: The last jobs say how long the next one takes; enough of them to get over a small batch among large ones.
_JOBS_TO_LEARN_FROM: Final = 10
_SHARE_OF_WAIT: Final = 0.1
#: Share of ``poll_interval`` that a pause takes while a job may end at any moment.
_NEAR_THE_END: Final = 0.125


@dataclasses.dataclass(slots=True)
class RunningJob:
    """
    A job that is not known to be finished.

    :param job_id: Its id.
    :param records: How many records it holds.
    :param sent_at: When its batch began to be sent.
    :param accepted_at: When FullStory had answered with the job.
    :param first_poll: When it was first polled, None if it was not.
    :param last_poll: When it was last polled.
    """

    job_id: str
    records: int
    sent_at: float
    accepted_at: float
    first_poll: float | None = None
    last_poll: float | None = None


class Forecast:
    """
    Say when to poll a job, from how long FullStory took over earlier ones.

    While none has finished, each is polled after ``poll_interval`` seconds, then after a tenth of the time
    since. Later a job is polled when the quickest of the last ten jobs would have been finished, then after
    an eighth of ``poll_interval``, or a tenth of the time by which the job is late if that is more. The
    oldest job is also polled earlier now and then, in case FullStory has become quicker.

    :param poll_interval: Shortest time between two polls of a job while none has finished, in seconds.
    """

    def __init__(self, poll_interval: float) -> None:
        self._poll_interval = poll_interval
        self._durations: deque[float] = deque(maxlen=_JOBS_TO_LEARN_FROM)

    def next_poll(self, jobs: Iterable[RunningJob]) -> tuple[float, RunningJob] | None:
        """
        Return when to poll next, and which job; None if there are no jobs.

        :param jobs: The jobs, the oldest first.
        """
        times = [(self._likely_end(job), job) for job in jobs]
        if not times:
            return None
        oldest = times[0][1]
        return min((self._early_poll(oldest), oldest), *times, key=lambda poll: poll[0])

    def note(self, job: RunningJob, status: JobStatus, now: float) -> None:
        """Note the status of a job."""
        job.first_poll = now if job.first_poll is None else job.first_poll
        job.last_poll = now
        if status.is_finished and (duration := _duration(status)) is not None:
            self._durations.append(duration)

    def _likely_end(self, job: RunningJob) -> float:
        """Return when a poll is likely to find a job finished, for the first time or after the last poll."""
        if self._durations:
            duration, pause = min(self._durations), self._poll_interval * _NEAR_THE_END
            # FullStory may begin before its answer has arrived; or long after the batch was first sent, if it
            # had no capacity for it.
            duration -= min(job.accepted_at - job.sent_at, _SHARE_OF_WAIT * duration)
        else:
            duration = pause = self._poll_interval
        end = job.accepted_at + duration
        if job.first_poll is None or job.last_poll is None:
            return end
        waited = job.last_poll - max(end, job.first_poll)
        return max(end, job.last_poll + max(pause, _SHARE_OF_WAIT * waited))

    def _early_poll(self, job: RunningJob) -> float:
        """Return when a job has become twice as old as it was at the last poll."""
        last = job.accepted_at if job.last_poll is None else job.last_poll
        return last + max(self._poll_interval, last - job.accepted_at)


def _duration(status: JobStatus) -> float | None:
    """Return how long a job took by FullStory's clock, None if it does not say."""
    if not status.job.created or not status.job.finished:
        return None
    try:
        created = datetime.fromisoformat(status.job.created)
        finished = datetime.fromisoformat(status.job.finished)
        return max(0.0, (finished - created).total_seconds())
    except (ValueError, TypeError):
        return None
