"""The table of customers, whose latest version is what a user should be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from month.comparison import Differences, compare_users, unchanged
from month.table import HOUR, LATEST, REJECTED_NOTE, START, Table

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Iterator
    from datetime import datetime

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse

#: Plans that customers change between, so that most of them come back to one that they had.
_PLANS: Final = ("free", "pro")
_TABLE: Final = """
    CREATE TABLE customers (
        number     integer PRIMARY KEY,
        uid        text,
        email      text NOT NULL,
        plan       text NOT NULL,
        seats      integer NOT NULL,
        note       text,
        updated_at timestamptz NOT NULL
    )
"""
_UPSERT: Final = """
    INSERT INTO customers VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (number) DO UPDATE SET
        uid = excluded.uid, plan = excluded.plan, seats = excluded.seats, note = excluded.note,
        updated_at = excluded.updated_at
"""


@dataclass
class Profile:
    """
    A customer from one update to the next.

    :param number: Its number.
    :param plan: Its plan.
    :param seats: How many seats it has.
    :param updated_at: When it was updated.
    :param has_uid: Whether its uid is known; without one the checks refuse the record.
    :param note: A note; `REJECTED_NOTE` lets FullStory reject the record.
    :param committed: The moment of the commit, 0 until then.
    """

    number: int
    plan: str
    seats: int
    updated_at: datetime
    has_uid: bool = True
    note: str | None = None
    committed: int = 0

    @property
    def uid(self) -> str:
        """The uid of its user."""
        return f"customer-{self.number}"

    @property
    def is_refused(self) -> bool:
        """Whether it is not imported."""
        return not self.has_uid or self.note is not None

    @property
    def email(self) -> str:
        """Its email."""
        return f"{self.number}@example.com"

    def user(self) -> dict[str, Any]:
        """Return the user that it should become, without the help of what is being checked."""
        return {"uid": self.uid, "email": self.email, "properties": {"plan": self.plan, "seats": self.seats}}


class Customers(Table):
    """
    Write to the table as an application does, and remember every version of every customer.

    :param warehouse: The database.
    :param counts: Counts what is written.
    :param sends_once: Whether a user may be sent only if it has changed.
    """

    def __init__(self, warehouse: Warehouse, counts: Counter[str], *, sends_once: bool) -> None:
        super().__init__(warehouse, counts, _TABLE)
        self._sends_once = sends_once
        self._last = START
        self._profiles: list[Profile] = []
        self._current: dict[int, Profile] = {}

    def conclude(self) -> None:
        """Repair what is refused, so that each customer must be there as it is."""
        with self._warehouse.cursor() as cursor:
            refused = [one for one in self._current.values() if one.is_refused]
            profiles = [
                Profile(one.number, one.plan, one.seats, self._last + timedelta(seconds=1)) for one in refused
            ]
            self._execute(cursor, profiles)
        self._commit(profiles)

    def differences(self, emulator: EmulatorClient) -> Differences:
        """Return how the users that FullStory has differ from the customers."""
        users = (_compared(line["user"]) for line in emulator.users())
        return compare_users(self._profiles, users, self.seen)

    def sent_again(self, emulator: EmulatorClient) -> list[str]:
        """Return the users who were sent again although they had not changed, if none may be."""
        return unchanged(sent_users(emulator)) if self._sends_once else []

    def _of_an_hour(self, cursor: Any, now: datetime, chance: random.Random) -> list[Profile]:
        count = len(self._current)
        profiles = [
            self._version(count + 1 + place, "free", _moment(now, chance), chance)
            for place in range(chance.randint(0, 2))
        ]
        profiles += [
            self._changed(one, _moment(now, chance), chance)
            for one in self._some(chance.randint(1, 6), chance)
        ]
        self._execute(cursor, profiles)
        return profiles

    def _during_a_read(self, now: datetime, chance: random.Random) -> list[Profile]:
        changing = self._some(chance.randint(1, 4), chance)
        return [self._changed(one, _late(now, chance), chance) for one in changing]

    def _execute(self, cursor: Any, versions: list[Profile]) -> None:
        for one in versions:
            uid = one.uid if one.has_uid else None
            values = (one.number, uid, one.email, one.plan, one.seats, one.note, one.updated_at)
            cursor.execute(_UPSERT, values)
            self._counts["versions of rows"] += 1

    def _note(self, version: Profile) -> None:
        self._profiles.append(version)
        self._current[version.number] = version
        self._last = max(self._last, version.updated_at)

    def _some(self, most: int, chance: random.Random) -> list[Profile]:
        return chance.sample(list(self._current.values()), min(len(self._current), most))

    def _changed(self, one: Profile, updated_at: datetime, chance: random.Random) -> Profile:
        """Return a new version, which may be as it was; what was refused may be well now."""
        plan = chance.choice(_PLANS)
        self._counts["updates" if plan != one.plan else "updates without a change"] += 1
        return self._version(one.number, plan, updated_at, chance)

    def _version(self, number: int, plan: str, updated_at: datetime, chance: random.Random) -> Profile:
        kind = chance.random()
        note = REJECTED_NOTE if 0.02 < kind < 0.05 else None
        self._counts["rows without a uid"] += kind < 0.02
        self._counts["rows that FullStory rejects"] += note is not None
        return Profile(number, plan, number % 7, updated_at, has_uid=kind >= 0.02, note=note)


def _moment(now: datetime, chance: random.Random) -> datetime:
    """Return a time in the hour before, or one before that hour, whose commit came late."""
    if chance.random() < 0.2:
        return _late(now - HOUR, chance)
    return now - timedelta(seconds=round(chance.uniform(0, HOUR.total_seconds() - 1)))


def _late(before: datetime, chance: random.Random) -> datetime:
    return before - timedelta(seconds=round(chance.uniform(0, LATEST.total_seconds())))


def sent_users(emulator: EmulatorClient) -> Iterator[dict[str, Any]]:
    """Yield the users of all imports, in their order, as FullStory shows them."""
    with FullStoryHook() as hook:
        for job in emulator.jobs():
            for page in hook.iter_imports("users", job["id"]):
                yield from map(_compared, page.results)


def _compared(user: dict[str, Any]) -> dict[str, Any]:
    return {name: user[name] for name in ("uid", "email", "properties") if name in user}
