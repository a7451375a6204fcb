"""What became of jobs, and what the log says of that."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.text import plural, some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.api.jobs import JobStatus

_JOBS_TOLD_ALONE: Final = 20


@dataclasses.dataclass(frozen=True, slots=True)
class JobOutcome:
    """
    What became of a job.

    :param job_id: Its id.
    :param status: FullStory's word for it; the counts say more.
    :param imports: Records that are in FullStory.
    :param errors: Records that FullStory refused.
    """

    job_id: str
    status: str
    imports: int
    errors: int

    @classmethod
    def of(cls, job_id: str, status: JobStatus) -> JobOutcome:
        """
        Return what a status says.

        :param job_id: The job that was asked for.
        :param status: FullStory's answer; final.
        """
        return cls(job_id, status.job.status, status.imports, status.errors)


def finished(outcome: JobOutcome, number: int, jobs: int) -> str | None:
    """
    Return a line about a job that has just finished, None where enough was said.

    Of many jobs, the first are told one by one, then only the 40th, the 80th and so on.

    :param outcome: What became of it.
    :param number: How many jobs are finished now.
    :param jobs: How many there are.
    """
    if number > _JOBS_TOLD_ALONE and math.log2(number / _JOBS_TOLD_ALONE) % 1:
        return None
    return (
        f"Job {number:,} of {jobs:,} is finished: {outcome.imports:,} imported, {outcome.errors:,} rejected "
        f"({outcome.job_id})."
    )


def still_running(job_ids: Sequence[str]) -> str:
    """
    Return a sentence about jobs that go on without anybody waiting.

    :param job_ids: The jobs.
    """
    return (
        f"FullStory may still be working on {plural(len(job_ids), 'job')}, and cannot cancel them: "
        f"{some(job_ids)}."
    )
