"""
Everything the emulator remembers, in SQLite.

Records lie on disk as they were sent, so memory stays flat however many there are. What a request does is one
transaction: a process killed in the middle leaves nothing half done. A power cut may lose the last of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.emulator.entries import (
    Job,
    StoredAnswer,
    StoredRecord,
    StoredRefusal,
    StoredUser,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# Records are kept some hundreds to a row; a row for each would be most of what a batch costs.
_CHUNK = 500
_TEXTS = msgspec.json.Decoder(list[msgspec.Raw])

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, resource TEXT NOT NULL,
    created REAL NOT NULL, started REAL NOT NULL, finished REAL NOT NULL,
    records INTEGER NOT NULL, imports INTEGER NOT NULL, shared BLOB, idempotency_key TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_finish ON jobs (finished);
CREATE TABLE IF NOT EXISTS texts (
    job INTEGER NOT NULL, first INTEGER NOT NULL, texts BLOB NOT NULL, PRIMARY KEY (job, first)
);
CREATE TABLE IF NOT EXISTS refusals (
    job INTEGER NOT NULL, ordinal INTEGER NOT NULL, code TEXT, message TEXT,
    PRIMARY KEY (job, ordinal)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, uid TEXT UNIQUE, text BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    scope TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, created REAL NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL, records INTEGER, PRIMARY KEY (scope, key)
);
CREATE TABLE IF NOT EXISTS clock (advanced_seconds REAL NOT NULL);
"""

_CLEAR = (
    "DELETE FROM jobs",
    "DELETE FROM texts",
    "DELETE FROM refusals",
    "DELETE FROM users",
    "DELETE FROM answers",
    "DELETE FROM clock",
)


class Store:
    """
    Keep jobs, records, users, remembered answers and the clock.

    It may be used from any thread: each gets its own connection, and reading never waits for a writer.

    :param path: The database file; made when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._connection.executescript(_TABLES)

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what happens inside take effect as a whole or not at all."""
        with self._writing:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close all connections; no thread may use the store any more."""
        for connection in self._connections:
            connection.close()

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            for statement in _CLEAR:
                self._connection.execute(statement)

    def add_job(self, job: Job, texts: Sequence[msgspec.Raw], refusals: Iterable[StoredRefusal]) -> None:
        """
        Enter a job with its records.

        :param job: The job.
        :param texts: JSON of all its records in the order they were sent.
        :param refusals: Which of them are not imported.
        """
        execute, executemany = self._connection.execute, self._connection.executemany
        execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", dataclasses.astuple(job))
        chunks = (
            (job.number, first, b"[%b]" % b",".join(texts[first : first + _CHUNK]))
            for first in range(0, len(texts), _CHUNK)
        )
        executemany("INSERT INTO texts VALUES (?, ?, ?)", chunks)
        rows = ((job.number, *refusal) for refusal in refusals)
        executemany("INSERT INTO refusals VALUES (?, ?, ?, ?)", rows)

    def next_job_number(self) -> int:
        """Return the number for the next job."""
        (number,) = self._connection.execute("SELECT coalesce(max(number), 0) + 1 FROM jobs").fetchone()
        return int(number)

    def find_job(self, job_id: str) -> Job | None:
        """
        Return a job by its id.

        :param job_id: What the API calls it.
        """
        row = self._connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return Job(*row) if row else None

    def jobs(self) -> list[Job]:
        """Return all jobs in the order of acceptance, records sent outside a batch included."""
        rows = self._connection.execute("SELECT * FROM jobs ORDER BY number")
        return [Job(*row) for row in rows]

    def unfinished(self, now: float) -> tuple[int, int]:
        """
        Return how many batches are not finished, and how many records they hold.

        :param now: Seconds since 1970.
        """
        batches, records = self._connection.execute(
            "SELECT count(*), coalesce(sum(records), 0) FROM jobs WHERE finished > ?", (now,)
        ).fetchone()
        return batches, records

    def most_unfinished(self) -> tuple[int, int]:
        """Return how many batches, and how many records, were unfinished at most at the same time."""
        changes = self._connection.execute(
            "SELECT created, 1, records FROM jobs WHERE finished > created"
            # At the same moment, what ends makes room for what begins.
            " UNION ALL SELECT finished, -1, -records FROM jobs WHERE finished > created ORDER BY 1, 2"
        )
        batches = records = most_batches = most_records = 0
        for _, more_batches, more_records in changes:
            batches, records = batches + more_batches, records + more_records
            most_batches, most_records = max(most_batches, batches), max(most_records, records)
        return most_batches, most_records

    def start_of_next(self, now: float, concurrent: int) -> float:
        """
        Return when work on a batch that is accepted now begins.

        A batch starts when a slot is free. Since waiting batches start in the order they came, the slots
        become free at the latest finishing times, one for each slot; the earliest of those is the answer.

        :param now: Seconds since 1970.
        :param concurrent: How many batches are worked on at once.
        """
        row = self._connection.execute(
            "SELECT finished FROM jobs WHERE finished > ? ORDER BY finished DESC LIMIT 1 OFFSET ?",
            (now, concurrent - 1),
        ).fetchone()
        return float(row[0]) if row else now

    def imported_events(self, since: float) -> int:
        """
        Return how many events were imported.

        :param since: Seconds since 1970 from which on they count.
        """
        (count,) = self._connection.execute(
            "SELECT coalesce(sum(imports), 0) FROM jobs WHERE resource = 'events' AND created >= ?", (since,)
        ).fetchone()
        return int(count)

    def refusals(self, job: Job, after: int, size: int) -> list[tuple[StoredRefusal, msgspec.Raw]]:
        """
        Return some of the records of a job that were refused, in the order they were sent.

        :param job: The job.
        :param after: Ordinal behind which they start.
        :param size: Most records to return.
        """
        rows = self._connection.execute(
            "SELECT ordinal, code, message FROM refusals WHERE job = ? AND ordinal > ?"
            " ORDER BY ordinal LIMIT ?",
            (job.number, after, size),
        ).fetchall()
        refusals = {row[0]: StoredRefusal(*row) for row in rows}
        if not refusals:
            return []
        last = max(refusals)
        found = itertools.chain.from_iterable(self._chunks(job, min(refusals) - 1))
        records = itertools.takewhile(lambda record: record.ordinal <= last, found)
        return [(refusals[ordinal], text) for ordinal, text in records if ordinal in refusals]

    def imported(self, job: Job, after: int = -1) -> Iterator[StoredRecord]:
        """
        Walk the records that a job imported, in the order they were sent.

        :param job: The job.
        :param after: Ordinal behind which to start.
        """
        for chunk in self._chunks(job, after):
            rows = self._connection.execute(
                "SELECT ordinal FROM refusals WHERE job = ? AND ordinal BETWEEN ? AND ?",
                (job.number, chunk[0].ordinal, chunk[-1].ordinal),
            )
            refused = {ordinal for (ordinal,) in rows}
            yield from (record for record in chunk if record.ordinal not in refused)

    def _chunks(self, job: Job, after: int) -> Iterator[list[StoredRecord]]:
        # One query for each chunk: a cursor that stays open would hold up writing, and may change threads.
        for first in range((after + 1) // _CHUNK * _CHUNK, job.records, _CHUNK):
            (texts,) = self._connection.execute(
                "SELECT texts FROM texts WHERE job = ? AND first = ?", (job.number, first)
            ).fetchone()
            numbered = enumerate(_TEXTS.decode(texts), first)
            if chunk := [StoredRecord(ordinal, text) for ordinal, text in numbered if ordinal > after]:
                yield chunk

    def find_user(self, user_id: str) -> StoredUser | None:
        """
        Return a user by FullStory's identifier.

        :param user_id: The identifier.
        """
        row = self._connection.execute("SELECT * FROM users WHERE id = ?", (user_id,)).fetchone()
        return StoredUser(*row) if row else None

    def find_user_by_uid(self, uid: str) -> StoredUser | None:
        """
        Return a user by the customer's identifier.

        :param uid: The identifier.
        """
        row = self._connection.execute("SELECT * FROM users WHERE uid = ?", (uid,)).fetchone()
        return StoredUser(*row) if row else None

    def save_user(self, user: StoredUser) -> None:
        """
        Enter a user, or replace the one with the same id.

        :param user: The user.
        """
        self._connection.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", dataclasses.astuple(user))

    def users(self) -> Iterator[StoredUser]:
        """Walk all users in the order of their ids."""
        last = ""
        while True:
            rows = self._connection.execute(
                "SELECT * FROM users WHERE id > ? ORDER BY id LIMIT 1000", (last,)
            ).fetchall()
            if not rows:
                return
            yield from (StoredUser(*row) for row in rows)
            last = rows[-1][0]

    def find_answer(self, scope: str, key: str) -> StoredAnswer | None:
        """
        Return the answer remembered for an idempotency key.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        """
        row = self._connection.execute(
            "SELECT * FROM answers WHERE scope = ? AND key = ?", (scope, key)
        ).fetchone()
        return StoredAnswer(*row) if row else None

    def save_answer(self, answer: StoredAnswer) -> None:
        """
        Remember an answer, in place of an older one for the same key.

        :param answer: The answer.
        """
        self._connection.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", dataclasses.astuple(answer)
        )

    def advanced_seconds(self) -> float:
        """Return how far the clock was ahead when it was last moved."""
        row = self._connection.execute("SELECT advanced_seconds FROM clock").fetchone()
        return float(row[0]) if row else 0.0

    def save_advanced_seconds(self, seconds: float) -> None:
        """
        Remember how far the clock is ahead.

        :param seconds: The difference to the machine's clock.
        """
        with self.transaction():
            self._connection.execute("DELETE FROM clock")
            self._connection.execute("INSERT INTO clock VALUES (?)", (seconds,))
