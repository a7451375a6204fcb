"""What all database drivers have in common: a result is read piece by piece, through a cursor."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.sources.drivers.types import as_given

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from airflow_provider_fullstory.sources.drivers.types import ColumnReader


@dataclass(frozen=True)
class Driver:
    """
    Read a result as every driver can: a few hundred rows at a time.

    :param name: The driver, for a person.
    :param caution: A line for the log about its memory, with a placeholder for the name.
    :param reader_of: Returns the reader of columns of a type, as the cursor's description has it.
    """

    name: str
    caution: str = ""
    reader_of: Callable[[Any], ColumnReader | None] = as_given

    #: How many pieces are fetched while one is mapped.
    pieces_ahead: ClassVar = 0

    def cursor(self, connection: Any) -> Any:
        """Make the cursor that the query runs on."""
        return connection.cursor()

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        """Yield rows, as many as are worth a round trip to the database; closed before the cursor."""
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield rows

    def reader(self, cursor: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """Return a function that converts rows before they are mapped; called after the first fetch."""
        readers = {
            index: read
            for index, column in enumerate(cursor.description)
            if (read := self.reader_of(column[1] if len(column) > 1 else None)) is not None
        }
        return functools.partial(_read_columns, readers) if readers else as_they_are

    def close_cursor(self, cursor: Any) -> None:
        """Close a cursor without reading what is left of its result."""
        cursor.close()

    def close_connection(self, connection: Any) -> None:
        """Close a connection without reading what is left of its result."""
        connection.close()

    def advice(self, error: Exception) -> str:  # noqa: ARG002
        """Return a sentence that explains an error of the database; by default none."""
        return ""


def _read_columns(readers: Mapping[int, ColumnReader], rows: Sequence[Any]) -> Sequence[Any]:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for index, read in readers.items():
        columns[index] = read(columns[index])
    return list(zip(*columns, strict=True))


def as_they_are(rows: Sequence[Any]) -> Sequence[Any]:
    """Return rows that need no conversion."""
    return rows
