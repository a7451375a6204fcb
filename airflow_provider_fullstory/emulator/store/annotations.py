"""Annotations, in the order in which they were created."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.store.database import Database


class AnnotationStore:
    """Keep annotations, each as JSON."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, text: bytes) -> None:
        """Add an annotation."""
        self._database.connection.execute("INSERT INTO annotations (text) VALUES (?)", (text,))

    def all(self) -> Iterator[bytes]:
        """Iterate over all annotations."""
        rows = self._database.connection.execute("SELECT text FROM annotations ORDER BY number")
        return (bytes(text) for (text,) in rows)

    def latest(self, size: int) -> list[bytes]:
        """
        Return the annotations that were created last, the latest first.

        :param size: Maximum number of annotations to return.
        """
        rows = self._database.connection.execute(
            "SELECT text FROM annotations ORDER BY number DESC LIMIT ?", (size,)
        )
        return [bytes(text) for (text,) in rows]
