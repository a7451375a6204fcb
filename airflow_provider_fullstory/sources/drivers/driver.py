"""What every driver of a database has in common: its result is read piece by piece, through a cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_fullstory.sources.chunks import CHUNK_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


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
        return as_they_are

    def close_cursor(self, cursor: Any) -> None:
        """Close a cursor without reading what is left of its result."""
        cursor.close()

    def close_connection(self, connection: Any) -> None:
        """Close a connection, likewise."""
        connection.close()

    def advice(self, error: Exception) -> str:  # noqa: ARG002
        """Return a sentence on what the database's error does not say by itself."""
        return ""


def as_they_are(rows: Sequence[Any]) -> Sequence[Any]:
    """Return rows that need no reading."""
    return rows
