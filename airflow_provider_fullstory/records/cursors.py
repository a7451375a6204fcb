"""
How the result of a query is read piece by piece, with what each driver has for that.

PEP 249 does not say where rows wait until somebody asks for them, and many a driver keeps all of them in the
worker's memory. ``_DRIVERS`` holds what is known, from the driver's documentation or source.
"""

from __future__ import annotations

import datetime
import functools
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER
from airflow_provider_fullstory.records.events import CHUNK_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

log = logging.getLogger(__name__)

_PARTS: Final = (
    "read it in parts (dynamic task mapping), or export it to files of newline-delimited JSON and import "
    "these with events="
)
_UNKNOWN: Final = (
    "It is not known how the driver %s hands over a result: rows are asked for a few hundred at a time, but "
    f"it may hold all of them in the worker's memory. Should memory grow with the result, {_PARTS}."
)
_ALL_AT_ONCE: Final = (
    "The driver %s fetches the whole result into the worker's memory before it gives the first row. Where "
    f"that is too much, {_PARTS}."
)


@dataclass(frozen=True)
class Driver:
    """
    Read a result as every driver can: rows are asked for a few hundred at a time.

    :param name: The driver, for a person.
    :param caution: What the log of a task says about its memory, with a place for the name.
    """

    name: str
    caution: str = ""

    #: How many pieces are on their way while one is mapped.
    pieces_ahead: ClassVar = 0

    def cursor(self, connection: Any) -> Any:
        """Make the cursor that the query runs on."""
        return connection.cursor()

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        """Yield rows, as many as are worth a round trip to the database; to be closed before the cursor."""
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield rows

    def reader(self, cursor: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:  # noqa: ARG002
        """Return what makes of rows those that are mapped; to be asked for once the first rows are there."""
        return _as_they_are

    def close_cursor(self, cursor: Any) -> None:
        """Close a cursor without reading what is left of its result."""
        cursor.close()

    def close_connection(self, connection: Any) -> None:
        """Close a connection, likewise."""
        connection.close()

    def advice(self, error: Exception) -> str:  # noqa: ARG002
        """Return a sentence on what the database's error does not say by itself."""
        return ""


def _as_they_are(rows: Sequence[Any]) -> Sequence[Any]:
    return rows


class _Sized(Driver):
    """Drivers that fetch ``arraysize`` rows at once, whatever one asks for; Oracle's default is 100."""

    def cursor(self, connection: Any) -> Any:
        cursor = connection.cursor()
        # PEP 249 asks for the attribute, but not every driver has it.
        with suppress(AttributeError):
            cursor.arraysize = CHUNK_ROWS
        return cursor


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
        # Such as half a pair of surrogates, or an exponent of 20 digits: refused with its record alone.
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
    A time that is infinite, or not in the years 1 to 9999; as any type that is not known, it is refused.

    :param text: As the database has it.
    """

    text: str

    def __str__(self) -> str:
        return self.text


def _each(read: Callable[[str], Any], texts: _Texts) -> list[Any]:
    return [None if text is None else read(text) for text in texts]


# By the number of the type in PostgreSQL (pg_type).
_JSON: Final[Mapping[int, _Reader]] = {114: _documents, 3802: _documents}
#: With psycopg2's name for what reads them.
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

    Each piece costs a round trip: over a network of 10 ms, 500 rows at a time come at a quarter of the speed
    of 10,000. The server does nothing until it is asked for the next piece, so that is while one is mapped.
    (psycopg could stream without round trips; but statement_timeout would go on while FullStory makes the
    reading wait, and the server could not cancel the query meanwhile.)

    Documents of JSON are read only when their row is mapped: thousands of them alive would keep Python's
    garbage collector busy.
    """

    pieces_ahead = 1
    most_rows: Final = 10_000
    #: The first trip brings few: nobody knows yet how wide they are.
    first_rows: Final = 100
    growth: Final = 4
    trip_characters: Final = 4 * 1024 * 1024
    seconds_between_cancels: Final = 0.05

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        size = self.first_rows
        with ThreadPoolExecutor(1, thread_name_prefix="fullstory-fetch") as thread:
            try:
                rows = thread.submit(cursor.fetchmany, size).result()
                # Before the next trip begins: during one, psycopg2's cursor does not know its columns.
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
                # Done when no trip is under way.
                idle = thread.submit(int)
                while wait([idle], self.seconds_between_cancels).not_done:
                    _cancel(cursor.connection)

    def _worthwhile(self, size: int, rows: Sequence[Any]) -> int:
        """Return how many rows the trip after these brings."""
        sample = rows[:: len(rows) // 10 + 1]
        width = sum(len(str(row)) for row in sample) // len(sample)
        return max(1, min(self.most_rows, size * self.growth, self.trip_characters // width))

    def reader(self, cursor: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
        known = self._readers(cursor)
        readers = {
            index: known[column[1]] for index, column in enumerate(cursor.description) if column[1] in known
        }
        return functools.partial(_read, readers) if readers else _as_they_are

    def _readers(self, cursor: Any) -> Mapping[int, _Reader]:  # noqa: ARG002
        """Return how columns of types that come as text are read."""
        return _JSON

    def advice(self, error: Exception) -> str:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        # A syntax error, or a statement that a cursor cannot be declared for.
        if state not in ("42601", "0A000"):
            return ""
        return (
            " On PostgreSQL, sql is read through a cursor (DECLARE ... CURSOR FOR), so it must be one "
            "SELECT, VALUES, TABLE, or WITH that changes nothing."
        )


def _read(readers: Mapping[int, _Reader], rows: Sequence[Any]) -> Sequence[Any]:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for index, read in readers.items():
        columns[index] = read(columns[index])
    return list(zip(*columns, strict=True))


def _cancel(connection: Any) -> None:
    """Ask the server to end what it does for a connection; it forgets that if it does nothing yet."""
    # Where that fails, the rows are waited for.
    with suppress(Exception):
        connection.cancel()


def _begin_transaction(connection: Any) -> None:
    """Leave autocommit, which would end the transaction that a server-side cursor lives in."""
    if connection.autocommit:
        connection.autocommit = False


class _Psycopg2(_PostgreSQL):
    """Takes several times as long to make Decimals and times, calling Python for each."""

    def cursor(self, connection: Any) -> Any:
        from psycopg2.extensions import cursor

        _begin_transaction(connection)
        # Not the connection's own kind of cursor, which may make a dict of each row.
        return connection.cursor(name="fullstory_import", cursor_factory=cursor)

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        from psycopg2.extensions import UNICODE

        # Brings no row, but tells the columns.
        cursor.fetchmany(0)
        cursor.string_types = dict.fromkeys(self._as_text(cursor), UNICODE)
        return super().fetch(cursor)

    def _as_text(self, cursor: Any) -> list[int]:
        """Return the types whose values are to come as text."""
        from psycopg2.extensions import string_types

        kinds = {column[1] for column in cursor.description}
        if not kinds <= _SCALARS | _ARRAYS:
            # Composites and ranges read their parts as the cursor reads values of their types.
            return list(_JSON)
        own = cursor.connection.string_types
        return [*_JSON] + [
            kind
            for kind, (name, _) in _NUMBERS_AND_TIMES.items()
            # Unless a user reads them in another way.
            if kind not in own and string_types[kind].name == name
        ]

    def _readers(self, cursor: Any) -> Mapping[int, _Reader]:
        known = {**_JSON, **{kind: read for kind, (_, read) in _NUMBERS_AND_TIMES.items()}}
        return {kind: known[kind] for kind in cursor.string_types}


class _Psycopg(_PostgreSQL):
    def cursor(self, connection: Any) -> Any:
        from psycopg.rows import tuple_row
        from psycopg.types.json import set_json_loads

        _begin_transaction(connection)
        named = connection.cursor(name="fullstory_import", row_factory=tuple_row)
        set_json_loads(lambda text: text, named)
        return named


class _MySQL(Driver):
    """
    Drivers whose plain cursor may fetch the whole result at once, and which have an unbuffered one.

    With that, the server sends rows only as fast as they are read.
    """

    #: Seconds, more than FullStory is likely to make the reading wait. By default, MySQL cuts a connection
    #: on which nothing was read for 60.
    net_write_timeout: Final = 7 * 24 * 3600

    def cursor(self, connection: Any) -> Any:
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(f"SET SESSION net_write_timeout = {self.net_write_timeout}")
        except Exception:
            # A database that only speaks MySQL's protocol need not know the setting.
            log.info("The database may give up when FullStory makes it wait:", exc_info=True)
        return self.unbuffered_cursor(connection)

    def unbuffered_cursor(self, connection: Any) -> Any:
        raise NotImplementedError

    def close_cursor(self, cursor: Any) -> None:
        """Leave it to the connection: a cursor reads all that is left before it closes, or refuses to."""


class _MySQLClient(_MySQL):
    def unbuffered_cursor(self, connection: Any) -> Any:
        from MySQLdb.cursors import SSCursor

        return connection.cursor(SSCursor)


class _PyMySQL(_MySQL):
    def unbuffered_cursor(self, connection: Any) -> Any:
        from pymysql.cursors import SSCursor

        return connection.cursor(SSCursor)

    def close_connection(self, connection: Any) -> None:
        # Collected as garbage, its result would try to read what is left.
        if connection._result is not None:
            connection._result.unbuffered_active = False
        connection.close()


class _MySQLConnector(_MySQL):
    def unbuffered_cursor(self, connection: Any) -> Any:
        return connection.cursor(buffered=False)

    def close_connection(self, connection: Any) -> None:
        # With the C extension, this close() reads all that is left; that of the connection inside does not.
        getattr(connection, "_cmysql", connection).close()


class _ClickHouse(Driver):
    """Holds the whole result unless it is told to stream it, in blocks of so many rows."""

    def cursor(self, connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.set_stream_results(True, 10_000)
        return cursor


#: By the module that a connection's class comes from.
_DRIVERS: Final = {
    "psycopg2": _Psycopg2("psycopg2"),
    "psycopg": _Psycopg("psycopg"),
    "MySQLdb": _MySQLClient("mysqlclient"),
    "pymysql": _PyMySQL("PyMySQL"),
    "mysql.connector": _MySQLConnector("mysql-connector-python"),
    "clickhouse_driver": _ClickHouse("clickhouse-driver"),
    "oracledb": _Sized("python-oracledb"),
    # These compute rows as they are asked for.
    "sqlite3": Driver("sqlite3"),
    "duckdb": Driver("DuckDB"),
    "_duckdb": Driver("DuckDB"),
    # These read rows from the connection as they are asked for.
    "pymssql": Driver("pymssql"),
    "vertica_python": Driver("vertica-python"),
    # These fetch parts of a size that the database or the driver decides, some of them ahead; arraysize would
    # make the parts of some smaller.
    "airflow.providers.google": Driver("BigQuery"),
    "google.cloud.bigquery": Driver("BigQuery"),
    "databricks.sql": Driver("databricks-sql-connector"),
    "snowflake.connector": Driver("snowflake-connector-python"),
    "trino": Driver("trino"),
    # These hold the whole result.
    "clickhouse_connect": Driver("clickhouse-connect", _ALL_AT_ONCE),
    "redshift_connector": Driver("redshift-connector", _ALL_AT_ONCE),
}


def driver_of(connection: Any) -> Driver:
    """
    Return how a connection's results are read, and say in the log where memory may be a concern.

    :param connection: A driver's own connection, or one behind a proxy, such as those that trace queries.
    """
    driver = _known_driver(connection) or _Sized(_root_module(connection), _UNKNOWN)
    if driver.caution:
        log.info(driver.caution, driver.name)
    return driver


def _known_driver(connection: Any) -> Driver | None:
    # A proxy has the __class__ of what it stands for; and a class may be derived from the driver's.
    for ancestor in connection.__class__.__mro__:
        parts = ancestor.__module__.split(".")
        for length in range(1, len(parts) + 1):
            if driver := _DRIVERS.get(".".join(parts[:length])):
                return driver
    return None


def _root_module(connection: Any) -> str:
    module: str = connection.__class__.__module__
    return module.partition(".")[0]


def unpooled(connection: Any) -> Any:
    """
    Return the driver's connection, which is the caller's to close.

    :param connection: What a hook gave: a driver's connection, or one out of a pool of SQLAlchemy's.
    """
    if _root_module(connection) != "sqlalchemy":
        return connection
    own = connection.driver_connection
    # Else the pool would use it again, with whatever is left of its result.
    connection.detach()
    return own
