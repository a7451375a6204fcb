"""The outcomes of jobs, and how the log reports them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.text import plural, some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.api.jobs import JobStatus

_JOBS_LOGGED_ALONE: Final = 20


@dataclasses.dataclass(frozen=True, slots=True)
class JobOutcome:
    """
    The outcome of a job.

    :param job_id: Its id.
    :param status: FullStory's word for it; the counts say more.
    :param imports: Records that are in FullStory.
    :param errors: Records that FullStory rejected.
    """

    job_id: str
    status: str
    imports: int
    errors: int

    @classmethod
    def of(cls, job_id: str, status: JobStatus) -> JobOutcome:
        """Return the outcome of a finished job."""
        return cls(job_id, status.job.status, status.imports, status.errors)


def finished(outcome: JobOutcome, number: int, jobs: int) -> str | None:
    """
    Return a line about a job that has just finished, None if the log has enough of them.

    Of many jobs, the first are logged one by one, then only the 40th, the 80th and so on.
    """
    if number > _JOBS_LOGGED_ALONE and math.log2(number / _JOBS_LOGGED_ALONE) % 1:
        return None
    return (
        f"Job {number:,} of {jobs:,} is finished: {outcome.imports:,} imported, {outcome.errors:,} rejected "
        f"({outcome.job_id})."
    )


def still_running(job_ids: Sequence[str]) -> str:
    """Return a sentence about jobs that continue without a task waiting for them."""
    return (
        f"FullStory may still be working on {plural(len(job_ids), 'job')}, and cannot cancel them: "
        f"{some(job_ids)}."
    )
