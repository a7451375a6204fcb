"""The drivers of PostgreSQL: server-side cursors, rows fetched ahead, and values read column by column."""

from __future__ import annotations

import datetime
import functools
import json
import re
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER
from airflow_provider_fullstory.sources.drivers.driver import Driver, as_they_are

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

_Texts: TypeAlias = "Sequence[str | None]"
_Reader: TypeAlias = "Callable[[_Texts], Sequence[Any]]"


def _documents(texts: _Texts) -> list[Any]:
    """Read values of JSON; their numbers keep their digits."""
    try:
        return _each(DECODER.decode, texts)
    except (msgspec.DecodeError, ArithmeticError):
        return _each(_document, texts)


def _document(text: str) -> Any:
    try:
        return DECODER.decode(text)
    except (msgspec.DecodeError, ArithmeticError):
        # For example, half a pair of surrogates or an exponent of 20 digits: only its record is refused.
        return json.loads(text)


def _times(read: Callable[[str], Any], texts: _Texts) -> list[Any]:
    try:
        return _each(read, texts)
    except ValueError:
        return _each(functools.partial(_time, read), texts)


def _time(read: Callable[[str], Any], text: str) -> Any:
    return TimeBeyondPython(text) if _BEYOND_PYTHON.fullmatch(text) else read(text)


_BEYOND_PYTHON: Final = re.compile(r"-?infinity|\d{5,}-.*|.* BC")


@dataclass(frozen=True)
class TimeBeyondPython:
    """
    A time that is infinite, or not in the years 1 to 9999; refused like any unknown type.

    :param text: The time as the database writes it.
    """

    text: str

    def __str__(self) -> str:
        return self.text


def _each(read: Callable[[str], Any], texts: _Texts) -> list[Any]:
    return [None if text is None else read(text) for text in texts]


# By the number of the type in PostgreSQL (pg_type).
_JSON: Final[Mapping[int, _Reader]] = {114: _documents, 3802: _documents}
#: With psycopg2's name for the type.
_NUMBERS_AND_TIMES: Final[Mapping[int, tuple[str, _Reader]]] = {
    1700: ("DECIMAL", functools.partial(_each, Decimal)),
    1082: ("DATE", functools.partial(_times, datetime.date.fromisoformat)),
    1114: ("DATETIME", functools.partial(_times, datetime.datetime.fromisoformat)),
    1184: ("DATETIMETZ", functools.partial(_times, datetime.datetime.fromisoformat)),
}
# From bool to uuid, and arrays of them.
# fmt: off
_SCALARS: Final = {
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 700, 701, 705, 1042, 1043, 1082, 1083, 1114, 1184,
    1186, 1266, 1700, 2950, 3802,
}
_ARRAYS: Final = {
    199, 1000, 1001, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1115, 1182, 1183, 1185, 1187,
    1231, 1270, 2951, 3807,
}
# fmt: on


class _PostgreSQL(Driver):
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
        known = self._readers(cursor)
        readers = {
            index: known[column[1]] for index, column in enumerate(cursor.description) if column[1] in known
        }
        return functools.partial(_read, readers) if readers else as_they_are

    def _readers(self, cursor: Any) -> Mapping[int, _Reader]:  # noqa: ARG002
        """Return the readers of types that arrive as text, by type."""
        return _JSON

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


def _read(readers: Mapping[int, _Reader], rows: Sequence[Any]) -> Sequence[Any]:
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

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        """Fetch columns of well-known types as text, and yield rows."""
        from psycopg2.extensions import UNICODE

        # Fetches no row, but the columns.
        cursor.fetchmany(0)
        cursor.string_types = dict.fromkeys(self._as_text(cursor), UNICODE)
        return super().fetch(cursor)

    def _as_text(self, cursor: Any) -> list[int]:
        """Return the types whose values are fetched as text."""
        from psycopg2.extensions import string_types

        kinds = {column[1] for column in cursor.description}
        if not kinds <= _SCALARS | _ARRAYS:
            # The cursor reads the parts of composites and ranges as values of their types.
            return list(_JSON)
        own = cursor.connection.string_types
        return [*_JSON] + [
            kind
            for kind, (name, _) in _NUMBERS_AND_TIMES.items()
            # Unless a user has registered another reader.
            if kind not in own and string_types[kind].name == name
        ]

    def _readers(self, cursor: Any) -> Mapping[int, _Reader]:
        known = {**_JSON, **{kind: read for kind, (_, read) in _NUMBERS_AND_TIMES.items()}}
        return {kind: known[kind] for kind in cursor.string_types}


class Psycopg(_PostgreSQL):
    """psycopg; only JSON is read from text, since its numbers would lose digits."""

    def cursor(self, connection: Any) -> Any:
        """Make a server-side cursor that leaves JSON as text."""
        from psycopg.rows import tuple_row
        from psycopg.types.json import set_json_loads

        _begin_transaction(connection)
        named = connection.cursor(name="fullstory_import", row_factory=tuple_row)
        set_json_loads(lambda text: text, named)
        return named
