"""The batches that FullStory accepted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_provider_fullstory.batch_import.batching.batch import Placed
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Submission(Placed):
    """
    A batch that FullStory accepted.

    :param job_id: FullStory's job.
    :param records: How many records it holds.
    :param bytes: How long its body is.
    :param is_earlier: Whether an earlier try knew the job, so that this one did not send the batch.
    :param is_replay: Whether an earlier try may have sent it, so that this one sent it under its old key.
    """

    job_id: str
    records: int
    bytes: int
    is_earlier: bool = False
    is_replay: bool = False


def batches_of(submissions: Sequence[Submission]) -> str:
    """Return the numbers of batches and records, as words."""
    records = sum(submission.records for submission in submissions)
    return f"{plural(len(submissions), 'batch')} with {plural(records, 'record')}"


def not_again(submissions: Sequence[Submission]) -> str:
    """Return what happened to batches that earlier tries sent, as words."""
    was, are = ("was", "is") if len(submissions) == 1 else ("were", "are")
    return f"{batches_of(submissions)} {was} accepted and {are} not sent again"
