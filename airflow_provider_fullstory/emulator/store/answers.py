"""The answers that idempotency keys replay."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.store.entries import StoredAnswer

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.store.database import Database


class AnswerStore:
    """
    Keep answers by idempotency key.

    :param database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, scope: str, key: str) -> StoredAnswer | None:
        """
        Return the answer that is remembered for an idempotency key.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        """
        row = self._database.connection.execute(
            "SELECT * FROM answers WHERE scope = ? AND key = ?", (scope, key)
        ).fetchone()
        return StoredAnswer(*row) if row else None

    def save(self, answer: StoredAnswer) -> None:
        """
        Save an answer, in place of an older one for the same key.

        :param answer: The answer.
        """
        self._database.connection.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", dataclasses.astuple(answer)
        )
