"""Users, by FullStory's identifier and by the customer's. Those whose deletion has ended are not there."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.store.entries import StoredUser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.clock import Clock
    from airflow_provider_fullstory.emulator.store.database import Database

_SELECT = "SELECT {} FROM users WHERE coalesce(gone > ?, TRUE) AND {}"


@dataclasses.dataclass(frozen=True)
class UserFilter:
    """
    Say which users to list: those that fit everything that is given.

    :param uid: The customer's identifier.
    :param email: The email address, exactly as it was sent.
    :param display_name: The name, exactly as it was sent.
    :param is_identified: Whether they have a customer's identifier.
    """

    uid: str | None = None
    email: str | None = None
    display_name: str | None = None
    is_identified: bool | None = None

    def condition(self) -> tuple[str, list[object]]:
        """Return the condition in SQL, and its parameters."""
        given = [
            ("uid = ?", self.uid),
            ("json_extract(CAST(text AS TEXT), '$.email') = ?", self.email),
            ("json_extract(CAST(text AS TEXT), '$.display_name') = ?", self.display_name),
            ("(uid IS NOT NULL) = ?", self.is_identified),
        ]
        conditions = [condition for condition, value in given if value is not None]
        return " AND ".join(conditions) or "TRUE", [value for _, value in given if value is not None]


class UserStore:
    """Keep users."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def find(self, user_id: str) -> StoredUser | None:
        """Return a user by FullStory's identifier."""
        return next(self._select("id = ?", user_id), None)

    def find_by_uid(self, uid: str) -> StoredUser | None:
        """Return a user by the customer's identifier."""
        return next(self._select("uid = ?", uid), None)

    def save(self, user: StoredUser) -> None:
        """Add a user, or replace the one with the same id."""
        self._database.connection.execute(
            "INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)", (user.id, user.uid, user.text, user.gone)
        )

    def page(self, wanted: UserFilter, after: str, size: int) -> list[StoredUser]:
        """
        Return a page of users in the order of their ids.

        :param wanted: Which of them.
        :param after: Id after which they start.
        :param size: Maximum number of users to return.
        """
        condition, parameters = wanted.condition()
        return list(self._select(f"{condition} AND id > ? ORDER BY id LIMIT ?", *parameters, after, size))

    def count(self, wanted: UserFilter) -> int:
        """Return the number of users."""
        condition, parameters = wanted.condition()
        (count,) = self._database.connection.execute(
            _SELECT.format("count(*)", condition), (self._clock.now(), *parameters)
        ).fetchone()
        return int(count)

    def all(self) -> Iterator[StoredUser]:
        """Iterate over all users in the order of their ids."""
        last = ""
        while users := self.page(UserFilter(), last, 1000):
            yield from users
            last = users[-1].id

    def latest(self, size: int) -> list[StoredUser]:
        """
        Return the users that were changed last, the latest first.

        :param size: Maximum number of users to return.
        """
        # A user that is replaced gets a new row.
        return list(self._select("TRUE ORDER BY rowid DESC LIMIT ?", size))

    def _select(self, condition: str, *parameters: object) -> Iterator[StoredUser]:
        # Read at once: a cursor that stays open would block writers.
        rows = self._database.connection.execute(
            _SELECT.format("*", condition), (self._clock.now(), *parameters)
        ).fetchall()
        return (StoredUser(*row) for row in rows)
