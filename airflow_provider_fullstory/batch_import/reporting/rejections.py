"""Reading which records FullStory rejected."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.exceptions import (
    FullStoryAccountingError,
    FullStoryError,
    FullStoryPermissionError,
)
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_fullstory.api.jobs import RecordError
    from airflow_provider_fullstory.batch_import.client import ImportClient
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome

#: FullStory does not document how long after a job its list of rejected records is complete.
_SECONDS_BETWEEN_LISTS: Final = (1.0, 4.0, 16.0)
_MOST_TIMES_LISTED: Final = 2

log = logging.getLogger(__name__)


def rejections(
    client: ImportClient,
    outcomes: Iterable[JobOutcome],
    *,
    is_required: bool,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[str, Sequence[RecordError]]]:
    """
    Yield the rejected records with their jobs, some at a time, as far as they can be read.

    :param client: Reads the rejected records, which takes an Architect key.
    :param outcomes: The outcomes of the jobs.
    :param is_required: Whether it is an error if they cannot all be read at the moment. A list that is
        shorter than the job's count is then read again first, since it may be complete only later.
    :param pause: Waits, given seconds.
    :raises FullStoryError: If they are required and cannot be read. A retry reads them again.
    """
    for outcome in outcomes:
        if not outcome.errors:
            continue
        listing = _Listing(client, outcome)
        try:
            for records in _read_all(listing, pause) if is_required else listing.read():
                yield outcome.job_id, records
        except FullStoryPermissionError as error:
            log.warning("Which records FullStory rejected, and why, could not be read. %s", error)
            return
        except FullStoryError as error:
            if is_required:
                error.add(
                    f"Job {outcome.job_id} is finished, and so is the import: {outcome.imports:,} of its "
                    f"records are in FullStory, {outcome.errors:,} are not.\n"
                    "Not all of these could be read and written to rejected_uri.\n"
                    "A retry reads them again, and sends nothing."
                )
                raise
            log.warning("Not all rejected records of job %s are known. %s", outcome.job_id, error)
        else:
            if listing.missing:
                log.warning("%s", listing)


def _read_all(listing: _Listing, pause: Callable[[float], None]) -> Iterator[list[RecordError]]:
    """Read a list again until it is complete, and raise an error if it stays incomplete."""
    yield from listing.read()
    for seconds in _SECONDS_BETWEEN_LISTS:
        if listing.missing <= 0:
            return
        log.info("%s It is read again in %.0f s.", listing, seconds)
        pause(seconds)
        yield from listing.read()
    if listing.missing > 0:
        raise FullStoryAccountingError(str(listing))


class _Listing:
    """
    Read the rejected records of a job, each once, however often they are listed.

    :param client: Reads the pages of the list.
    :param outcome: The outcome of the job.
    """

    def __init__(self, client: ImportClient, outcome: JobOutcome) -> None:
        self._client = client
        self._outcome = outcome
        #: How often each record was yielded, by a hash of it.
        self._yielded: Counter[int] = Counter()
        self.missing = outcome.errors

    def __str__(self) -> str:
        count = self._outcome.errors
        return (
            f"FullStory counts {plural(count, 'rejected record')} in job {self._outcome.job_id}, and lists "
            f"{count - self.missing:,}."
        )

    def read(self) -> Iterator[list[RecordError]]:
        """Yield the records that were not yielded before."""
        listed: Counter[int] = Counter()
        # An equal record may be listed twice, or be two records: the count of the job decides in the end.
        equal: dict[int, RecordError] = {}
        for page in self._client.iter_errors(self._outcome.job_id):
            fresh = []
            for record in page.results:
                mark = hash(ENCODER.encode(record))
                listed[mark] += 1
                if not self._yielded[mark]:
                    self._yielded[mark] += 1
                    fresh.append(record)
                elif listed[mark] > self._yielded[mark]:
                    equal.setdefault(mark, record)
            self.missing -= len(fresh)
            yield fresh
            if self.missing <= 0:
                return
            if listed.total() >= _MOST_TIMES_LISTED * self._outcome.errors:
                # The pages lead in a circle.
                break
        for mark, record in equal.items():
            times = min(listed[mark] - self._yielded[mark], self.missing)
            self._yielded[mark] += times
            self.missing -= times
            yield [record] * times
