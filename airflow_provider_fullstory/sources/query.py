"""The result of a query, read piece by piece."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStorySourceError
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.sources.drivers.known import driver_of, unpooled

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

#: After a pause as long as this, an error of the database may be about the pause.
_LONG_PAUSE_SECONDS = 1.0


class QueryResult(NamedTuple):
    """
    The result of a query while it is read.

    :param columns: Names of the columns, as the database gives them.
    :param chunks: Rows, a few hundred at a time.
    """

    columns: list[str]
    chunks: Iterator[Sequence[Sequence[Any]]]


@contextmanager
def query(hook: DbApiHook, sql: str, parameters: Any) -> Iterator[QueryResult]:
    """
    Run a query and read its rows piece by piece.

    Connection and cursor stay open until the context ends.

    :param hook: Hook of the database.
    :param sql: One statement that returns rows.
    :param parameters: Parameters of the statement, in the form of the database's driver.
    :raises FullStorySourceError: If the query fails, at the start or midway.
    """
    with ExitStack() as stack:
        driver = None
        try:
            connection = unpooled(hook.get_conn())
            driver = driver_of(connection)
            stack.callback(_quietly, driver.close_connection, connection)
            cursor = driver.cursor(connection)
            stack.callback(_quietly, driver.close_cursor, cursor)
            statement = sql.strip().rstrip(";")
            cursor.execute(statement) if parameters is None else cursor.execute(statement, parameters)
            pieces = driver.fetch(cursor)
            stack.callback(pieces.close)
            # A server-side cursor of psycopg2 has its columns only after the first rows.
            first = next(pieces, [])
        except Exception as error:
            advice = driver.advice(error) if driver else ""
            raise FullStorySourceError(f"The query failed: {_reason(error)}.{advice}") from error
        description = cursor.description
        if description is None:
            raise FullStoryInputError("The query returns no rows at all: sql must be one SELECT.")
        columns = [column[0] for column in description]
        read = driver.reader(cursor)
        chunks = _chunks(first, pieces, driver.pieces_ahead, lambda rows: read(_tuples(columns, rows)))
        yield QueryResult(columns, chunks)


def _quietly(close: Callable[[Any], None], what: Any) -> None:
    # The rows are read, and a broken connection may fail to close.
    with suppress(Exception):
        close(what)


def _chunks(
    first: Sequence[Any],
    pieces: Iterator[Sequence[Any]],
    pieces_ahead: int,
    read: Callable[[Sequence[Any]], Sequence[Any]],
) -> Iterator[Sequence[Any]]:
    rows, count = first, 0
    # Pieces that are fetched ahead were begun before the last pauses.
    pauses: deque[float] = deque(maxlen=1 + pieces_ahead)
    while rows:
        fetched_at = time.monotonic()
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            try:
                values = read(chunk)
            except Exception as error:
                raise _failed(count + start, error) from error
            yield values
        count += len(rows)
        pauses.append(time.monotonic() - fetched_at)
        try:
            rows = next(pieces, [])
        except Exception as error:
            raise _failed(count, error, pauses[0]) from error


def _failed(rows: int, error: Exception, pause: float = 0.0) -> FullStorySourceError:
    return FullStorySourceError(
        f"The query failed after {rows} rows: {_reason(error)}.{_pause_advice(pause)}"
    )


def _pause_advice(seconds: float) -> str:
    """Return advice on a failure after a pause, which FullStory can cause."""
    if seconds < _LONG_PAUSE_SECONDS:
        return ""
    return (
        f" Before that, nothing was read for {seconds:.0f} s, since FullStory was not ready for more. If the "
        "database gave up because of that (PostgreSQL after idle_in_transaction_session_timeout), let it "
        "wait longer, or set stage_batches=True: then the whole result is read in one go, before anything is "
        "sent."
    )


def _tuples(columns: Sequence[str], rows: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """Return rows as tuples; a connection can be set up to return dicts."""
    if isinstance(rows[0], Mapping):
        return [tuple(row[name] for name in columns) for row in rows]
    return rows


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().rstrip('.')}"
