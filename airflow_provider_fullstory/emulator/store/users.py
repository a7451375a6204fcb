"""Users, by FullStory's identifier and by the customer's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.store.entries import StoredUser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.store.database import Database


class UserStore:
    """Keep users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, user_id: str) -> StoredUser | None:
        """Return a user by FullStory's identifier."""
        row = self._database.connection.execute("SELECT * FROM users WHERE id = ?", (user_id,)).fetchone()
        return StoredUser(*row) if row else None

    def find_by_uid(self, uid: str) -> StoredUser | None:
        """Return a user by the customer's identifier."""
        row = self._database.connection.execute("SELECT * FROM users WHERE uid = ?", (uid,)).fetchone()
        return StoredUser(*row) if row else None

    def save(self, user: StoredUser) -> None:
        """Add a user, or replace the one with the same id."""
        self._database.connection.execute(
            "INSERT OR REPLACE INTO users VALUES (?, ?, ?)", dataclasses.astuple(user)
        )

    def all(self) -> Iterator[StoredUser]:
        """Iterate over all users in the order of their ids."""
        last = ""
        while True:
            rows = self._database.connection.execute(
                "SELECT * FROM users WHERE id > ? ORDER BY id LIMIT 1000", (last,)
            ).fetchall()
            if not rows:
                return
            yield from (StoredUser(*row) for row in rows)
            last = rows[-1][0]
