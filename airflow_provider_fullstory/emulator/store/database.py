"""
The SQLite database behind an organization: its tables, connections and transactions.

Records are on disk as they were sent, so memory stays flat. Each request is one transaction: a process that
is killed in the middle leaves nothing half done. A power cut may lose the last transactions.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
CREATE TABLE IF NOT EXISTS rejections (
    job INTEGER NOT NULL, ordinal INTEGER NOT NULL, code TEXT, message TEXT,
    PRIMARY KEY (job, ordinal)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, uid TEXT UNIQUE, text BLOB NOT NULL, gone REAL);
CREATE TABLE IF NOT EXISTS annotations (number INTEGER PRIMARY KEY, text BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    scope TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, created REAL NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL, records INTEGER, PRIMARY KEY (scope, key)
);
CREATE TABLE IF NOT EXISTS clock (advanced_seconds REAL NOT NULL);
"""

_CLEAR = (
    "DELETE FROM jobs",
    "DELETE FROM texts",
    "DELETE FROM rejections",
    "DELETE FROM users",
    "DELETE FROM annotations",
    "DELETE FROM answers",
    "DELETE FROM clock",
)


class Database:
    """
    Hold the tables of jobs, records, users, annotations and remembered answers, and the clock.

    Any thread may use it: each has its own connection, and reading never waits for a writer.

    :param path: The database file; it is created when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self.connection.executescript(_TABLES)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of the current thread."""
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
        """Let everything inside take effect as a whole or not at all."""
        with self._writing:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def close(self) -> None:
        """Close all connections; no thread may use the database any more."""
        for connection in self._connections:
            connection.close()

    def clear(self) -> None:
        """Delete everything."""
        with self.transaction():
            for statement in _CLEAR:
                self.connection.execute(statement)

    def advanced_seconds(self) -> float:
        """Return how far the clock was ahead when it was last moved."""
        row = self.connection.execute("SELECT advanced_seconds FROM clock").fetchone()
        return float(row[0]) if row else 0.0

    def save_advanced_seconds(self, seconds: float) -> None:
        """Save how far the clock is ahead of the machine's."""
        with self.transaction():
            self.connection.execute("DELETE FROM clock")
            self.connection.execute("INSERT INTO clock VALUES (?)", (seconds,))
