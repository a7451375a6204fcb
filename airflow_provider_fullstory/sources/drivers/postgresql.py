"""The drivers of PostgreSQL: server-side cursors, rows fetched ahead, and values read column by column."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.sources.drivers.driver import Driver, as_they_are
from airflow_provider_fullstory.sources.drivers.postgresql_values import (
    AS_TEXT,
    FIRST_OWN_TYPE,
    JSON,
    READ_FROM_TEXT,
    TIMES,
    UUID_ARRAY,
    Reader,
    text_arrays,
    time_or_beyond,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

#: Redshift speaks PostgreSQL's protocol and says that it is version 8.0.2, whose catalog lacks the columns.
_CATALOG_VERSION: Final = 90000
_ARRAYS_OF_TEXT: Final = """
    SELECT kind.oid FROM pg_type AS kind JOIN pg_type AS element ON element.oid = kind.typelem
    WHERE kind.oid = ANY(%s::oid[]) AND kind.typcategory = 'A' AND element.typdelim = ','
      AND element.typtype IN ('b', 'd', 'e')
"""


class _PostgreSQL(Driver, ABC):
    """
    Drivers whose plain cursor fetches the whole result at once, and which have server-side cursors.

    Each piece costs a round trip: over a network of 10 ms, 500 rows at a time are a quarter as fast as
    10,000. The server computes a piece only once it is fetched, so the next is fetched while one is mapped.
    (psycopg could stream without round trips. But statement_timeout would run while FullStory delays reading,
    and the server could not cancel the query meanwhile.)

    JSON documents are parsed only when their row is mapped: thousands of them alive would keep Python's
    garbage collector busy.
    """

    pieces_ahead = 1
    most_rows: Final = 10_000
    #: The first trip fetches few, since their width is unknown.
    first_rows: Final = 100
    growth: Final = 4
    trip_characters: Final = 4 * 1024 * 1024
    seconds_between_cancels: Final = 0.05

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        size = self.first_rows
        with ThreadPoolExecutor(1, thread_name_prefix="fullstory-fetch") as thread:
            try:
                rows = thread.submit(cursor.fetchmany, size).result()
                # Before the next trip begins: during a trip, psycopg2's cursor has no columns.
                yield rows
                if not rows:
                    return
                size = self._worthwhile(size, rows)
                trip = thread.submit(cursor.fetchmany, size)
                while rows := trip.result():
                    size = self._worthwhile(size, rows)
                    trip = thread.submit(cursor.fetchmany, size)
                    yield rows
            finally:
                # Done once no trip is in flight.
                idle = thread.submit(int)
                while wait([idle], self.seconds_between_cancels).not_done:
                    _cancel(cursor.connection)

    def _worthwhile(self, size: int, rows: Sequence[Any]) -> int:
        """Return how many rows the trip after these fetches."""
        sample = rows[:: len(rows) // 10 + 1]
        width = sum(len(str(row)) for row in sample) // len(sample)
        return max(1, min(self.most_rows, size * self.growth, self.trip_characters // width))

    def reader(self, cursor: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
        kinds = [column[1] for column in cursor.description]
        known = {**self._readers(cursor), **dict.fromkeys(self._own_arrays(cursor, kinds), text_arrays)}
        readers = {index: known[kind] for index, kind in enumerate(kinds) if kind in known}
        return functools.partial(_read, readers) if readers else as_they_are

    def _readers(self, cursor: Any) -> Mapping[int, Reader]:  # noqa: ARG002
        """Return the readers of types that arrive as text, by type."""
        return JSON

    def _own_arrays(self, cursor: Any, kinds: Sequence[int]) -> list[int]:
        """Return the types that are arrays of an enum, citext and the like, which only the catalog tells."""
        own = sorted({kind for kind in kinds if kind >= FIRST_OWN_TYPE})
        connection = cursor.connection
        # A query that fails would end the transaction, and the cursor with it.
        if not own or connection.info.server_version < _CATALOG_VERSION:
            return []
        with closing(self._plain_cursor(connection)) as catalog:
            catalog.execute(_ARRAYS_OF_TEXT, [own])
            return [row[0] for row in catalog.fetchall()]

    @abstractmethod
    def _plain_cursor(self, connection: Any) -> Any:
        """Make a cursor in the worker's memory, whose rows are tuples."""

    def advice(self, error: Exception) -> str:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        # A syntax error, or a statement that a cursor cannot be declared for.
        if state not in ("42601", "0A000"):
            if "CURSOR" not in str(error):
                return ""
            return "\nThe words before sql there (DECLARE ... CURSOR FOR) make its result readable in pieces."
        return (
            "\nOn PostgreSQL, sql is read through a cursor (DECLARE ... CURSOR FOR), so it must be one "
            "SELECT, VALUES, TABLE, or WITH that changes nothing."
        )


def _read(readers: Mapping[int, Reader], rows: Sequence[Any]) -> Sequence[Any]:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for index, read in readers.items():
        columns[index] = read(columns[index])
    return list(zip(*columns, strict=True))


def _cancel(connection: Any) -> None:
    """Cancel the query of a connection on the server, which ignores this if none runs."""
    # If that fails, the caller waits for the rows.
    with suppress(Exception):
        connection.cancel()


def _begin_transaction(connection: Any) -> None:
    """Leave autocommit, which would end the transaction of a server-side cursor."""
    if connection.autocommit:
        connection.autocommit = False


class Psycopg2(_PostgreSQL):
    """psycopg2, which calls Python for each Decimal and each time; columns of text are read much faster."""

    def cursor(self, connection: Any) -> Any:
        """Make a server-side cursor."""
        from psycopg2.extensions import cursor

        _begin_transaction(connection)
        # Not the connection's own class of cursor, which may return rows as dicts.
        return connection.cursor(name="fullstory_import", cursor_factory=cursor)

    def _plain_cursor(self, connection: Any) -> Any:
        from psycopg2.extensions import cursor

        return connection.cursor(cursor_factory=cursor)

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        """Fetch columns of well-known types as text, and yield rows."""
        from psycopg2.extensions import UNICODE

        # Fetches no row, but the columns.
        cursor.fetchmany(0)
        cursor.string_types = {**self._with_parts(cursor), **dict.fromkeys(self._as_text(cursor), UNICODE)}
        return super().fetch(cursor)

    def _as_text(self, cursor: Any) -> list[int]:
        """Return the types whose values are fetched as text."""
        from psycopg2.extensions import string_types

        own = cursor.connection.string_types
        # Unless a user has registered another reader.
        read = [
            kind
            for kind, (name, _) in READ_FROM_TEXT.items()
            if kind not in own and string_types[kind].name == name
        ]
        return [*JSON, *read, *(kind for kind in AS_TEXT if kind not in own)]

    def _with_parts(self, cursor: Any) -> dict[int, Any]:
        """
        Return readers for the columns of composites and the like that a user has registered.

        These ask their cursor to read each part, so they get one that reads no type as text.
        """
        from psycopg2.extensions import new_type, string_types

        known = {**string_types, **cursor.connection.string_types}
        plain = self._plain_cursor(cursor.connection)
        return {
            kind: new_type((kind,), known[kind].name, functools.partial(_read_with, plain, known[kind]))
            for kind in {column[1] for column in cursor.description}
            if kind >= FIRST_OWN_TYPE and kind in known
        }

    def _readers(self, cursor: Any) -> Mapping[int, Reader]:
        known = {**JSON, **{kind: read for kind, (_, read) in READ_FROM_TEXT.items()}}
        read = {kind: known[kind] for kind in cursor.string_types if kind in known}
        return {**read, UUID_ARRAY: text_arrays}


def _read_with(cursor: Any, read: Callable[[str, Any], Any], text: str | None, _: Any) -> Any:
    return None if text is None else read(text, cursor)


class Psycopg(_PostgreSQL):
    """psycopg; JSON is read from text, since its numbers would lose digits."""

    def cursor(self, connection: Any) -> Any:
        """Make a server-side cursor that leaves JSON as text, and does not fail for one odd time."""
        from psycopg.pq import Format
        from psycopg.rows import tuple_row
        from psycopg.types.json import set_json_loads
        from psycopg.types.string import TextLoader

        _begin_transaction(connection)
        named = connection.cursor(name="fullstory_import", row_factory=tuple_row)
        set_json_loads(lambda text: text, named)
        for kind in TIMES:
            named.adapters.register_loader(kind, _forgiving(named.adapters.get_loader(kind, Format.TEXT)))
        for kind in AS_TEXT:
            loader = named.adapters.get_loader(kind, Format.TEXT)
            # Unless a user has registered another reader.
            if loader is None or loader.__module__.startswith("psycopg"):
                named.adapters.register_loader(kind, TextLoader)
        return named

    def _plain_cursor(self, connection: Any) -> Any:
        from psycopg.rows import tuple_row

        return connection.cursor(row_factory=tuple_row)


def _forgiving(strict: Any) -> type[Any]:
    """Return a loader of psycopg's that reads as another one does, but does not fail for an odd time."""
    from psycopg import DataError
    from psycopg.adapt import Loader

    class Forgiving(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._strict = strict(oid, context)

        def load(self, data: Any) -> Any:
            try:
                return self._strict.load(data)
            except DataError as error:
                return time_or_beyond(_raising(error), bytes(data).decode())

    return Forgiving


def _raising(error: Exception) -> Callable[[str], Any]:
    def read(_: str) -> Any:
        raise error

    return read
