"""What all database drivers have in common: a result is read piece by piece, through a cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_fullstory.sources import CHUNK_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


@dataclass(frozen=True)
class Driver:
    """
    Read a result as every driver can: a few hundred rows at a time.

    :param name: The driver, for a person.
    :param caution: A line for the log about its memory, with a placeholder for the name.
    """

    name: str
    caution: str = ""

    #: How many pieces are fetched while one is mapped.
    pieces_ahead: ClassVar = 0

    def cursor(self, connection: Any) -> Any:
        """Make the cursor that the query runs on."""
        return connection.cursor()

    def fetch(self, cursor: Any) -> Generator[Sequence[Any], None, None]:
        """Yield rows, as many as are worth a round trip to the database; closed before the cursor."""
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield rows

    def reader(self, cursor: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:  # noqa: ARG002
        """Return a function that converts rows before they are mapped; called after the first fetch."""
        return as_they_are

    def close_cursor(self, cursor: Any) -> None:
        """Close a cursor without reading what is left of its result."""
        cursor.close()

    def close_connection(self, connection: Any) -> None:
        """Close a connection without reading what is left of its result."""
        connection.close()

    def advice(self, error: Exception) -> str:  # noqa: ARG002
        """Return a sentence that explains an error of the database; by default none."""
        return ""


def as_they_are(rows: Sequence[Any]) -> Sequence[Any]:
    """Return rows that need no conversion."""
    return rows
