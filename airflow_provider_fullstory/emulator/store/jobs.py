"""Jobs and their records, as they were sent."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.emulator.store.entries import Job, StoredRecord, StoredRejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.emulator.store.database import Database

# A row holds some hundreds of records; a row for each record would be most of what a batch costs.
_CHUNK = 500
_TEXTS = msgspec.json.Decoder(list[msgspec.Raw])


class JobStore:
    """Keep jobs with their records and rejections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: Job, texts: Sequence[msgspec.Raw], rejections: Iterable[StoredRejection]) -> None:
        """Add a job with all its records, in the order they were sent, and the rejections among them."""
        execute, executemany = self._database.connection.execute, self._database.connection.executemany
        execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", dataclasses.astuple(job))
        chunks = (
            (job.number, first, b"[%b]" % b",".join(texts[first : first + _CHUNK]))
            for first in range(0, len(texts), _CHUNK)
        )
        executemany("INSERT INTO texts VALUES (?, ?, ?)", chunks)
        rows = ((job.number, *rejection) for rejection in rejections)
        executemany("INSERT INTO rejections VALUES (?, ?, ?, ?)", rows)

    def next_number(self) -> int:
        """Return the number for the next job."""
        (number,) = self._database.connection.execute(
            "SELECT coalesce(max(number), 0) + 1 FROM jobs"
        ).fetchone()
        return int(number)

    def find(self, job_id: str) -> Job | None:
        """Return a job by its id."""
        row = self._database.connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return Job(*row) if row else None

    def all(self) -> list[Job]:
        """Return all jobs in the order of acceptance, including records sent outside a batch."""
        rows = self._database.connection.execute("SELECT * FROM jobs ORDER BY number")
        return [Job(*row) for row in rows]

    def unfinished(self, now: float) -> tuple[int, int]:
        """Return the numbers of unfinished batches and of their records."""
        batches, records = self._database.connection.execute(
            "SELECT count(*), coalesce(sum(records), 0) FROM jobs WHERE finished > ?", (now,)
        ).fetchone()
        return batches, records

    def most_unfinished(self) -> tuple[int, int]:
        """Return the most batches, and the most records, that were unfinished at the same time."""
        changes = self._database.connection.execute(
            "SELECT created, 1, records FROM jobs WHERE finished > created"
            # Of two changes at the same moment, the end counts first.
            " UNION ALL SELECT finished, -1, -records FROM jobs WHERE finished > created ORDER BY 1, 2"
        )
        batches = records = most_batches = most_records = 0
        for _, more_batches, more_records in changes:
            batches, records = batches + more_batches, records + more_records
            most_batches, most_records = max(most_batches, batches), max(most_records, records)
        return most_batches, most_records

    def start_of_next(self, now: float, concurrent: int) -> float:
        """
        Return when processing of a batch that is accepted now starts.

        A batch starts when a slot is free. Since batches start in the order of acceptance, the slots become
        free at the latest finishing times, one for each slot; the earliest of those is the answer.
        """
        row = self._database.connection.execute(
            "SELECT finished FROM jobs WHERE finished > ? ORDER BY finished DESC LIMIT 1 OFFSET ?",
            (now, concurrent - 1),
        ).fetchone()
        return float(row[0]) if row else now

    def imported_events(self, since: float) -> int:
        """Return the number of events that were imported since a time."""
        (count,) = self._database.connection.execute(
            "SELECT coalesce(sum(imports), 0) FROM jobs WHERE resource = 'events' AND created >= ?", (since,)
        ).fetchone()
        return int(count)

    def rejections(self, job: Job, after: int, size: int) -> list[tuple[StoredRejection, msgspec.Raw]]:
        """
        Return a page of the rejected records of a job, in the order they were sent.

        :param job: The job.
        :param after: Ordinal after which they start.
        :param size: Maximum number of records to return.
        """
        rows = self._database.connection.execute(
            "SELECT ordinal, code, message FROM rejections WHERE job = ? AND ordinal > ?"
            " ORDER BY ordinal LIMIT ?",
            (job.number, after, size),
        ).fetchall()
        rejections = {row[0]: StoredRejection(*row) for row in rows}
        if not rejections:
            return []
        last = max(rejections)
        found = itertools.chain.from_iterable(self._chunks(job, min(rejections) - 1))
        records = itertools.takewhile(lambda record: record.ordinal <= last, found)
        return [(rejections[ordinal], text) for ordinal, text in records if ordinal in rejections]

    def imported(self, job: Job, after: int = -1) -> Iterator[StoredRecord]:
        """Iterate over the imported records of a job after an ordinal, in the order they were sent."""
        for chunk in self._chunks(job, after):
            rows = self._database.connection.execute(
                "SELECT ordinal FROM rejections WHERE job = ? AND ordinal BETWEEN ? AND ?",
                (job.number, chunk[0].ordinal, chunk[-1].ordinal),
            )
            rejected = {ordinal for (ordinal,) in rows}
            yield from (record for record in chunk if record.ordinal not in rejected)

    def _chunks(self, job: Job, after: int) -> Iterator[list[StoredRecord]]:
        # Each chunk has its own query: a cursor that stays open would block writers, and may change threads.
        for first in range((after + 1) // _CHUNK * _CHUNK, job.records, _CHUNK):
            (texts,) = self._database.connection.execute(
                "SELECT texts FROM texts WHERE job = ? AND first = ?", (job.number, first)
            ).fetchone()
            numbered = enumerate(_TEXTS.decode(texts), first)
            if chunk := [StoredRecord(ordinal, text) for ordinal, text in numbered if ordinal > after]:
                yield chunk
