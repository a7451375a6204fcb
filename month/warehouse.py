"""The table of records, each version of which becomes an event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from demo.comparison import imported_events
from month.comparison import Differences, compare
from month.table import HOUR, LATEST, REJECTED_NOTE, START, Table

if TYPE_CHECKING:
    import random
    from collections import Counter

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse

EVENT: Final = "Record Updated"
_TABLE: Final = """
    CREATE TABLE records (
        record_id   integer NOT NULL,
        customer_id text,
        updated_at  timestamptz NOT NULL,
        amount      numeric(10, 2) NOT NULL,
        note        text
    )
"""
_INSERT: Final = "INSERT INTO records VALUES (%s, %s, %s, %s, %s)"
_UPDATE: Final = (
    "UPDATE records SET customer_id = %s, updated_at = %s, amount = %s, note = %s WHERE record_id = %s"
)


@dataclass
class Version:
    """
    A row as it was from one update to the next.

    :param record_id: Its number.
    :param customer_id: Its customer; without one the checks refuse the record.
    :param updated_at: When it was updated.
    :param amount: An amount.
    :param note: A note; `REJECTED_NOTE` lets FullStory reject the record.
    :param committed: The moment of the commit, None until then.
    :param fixed: ``no``, ``begun`` or ``done``: whether it is imported from a file of refused records.
    """

    record_id: int
    customer_id: str | None
    updated_at: datetime
    amount: Decimal
    note: str | None
    committed: int | None = None
    fixed: str = "no"

    @property
    def key(self) -> tuple[int, datetime]:
        """What names the version."""
        return self.record_id, self.updated_at

    @property
    def is_refused(self) -> bool:
        """Whether it is not imported as it is in the warehouse."""
        return self.customer_id is None or self.note == REJECTED_NOTE

    def event(self) -> dict[str, Any]:
        """Return the event that it should become, without the help of what is being checked."""
        moment = self.updated_at.isoformat().replace("+00:00", "Z")
        properties: dict[str, Any] = {
            "record_id": self.record_id,
            "updated_at": moment,
            "amount": self.amount,
        }
        if self.note is not None and self.fixed == "no":
            properties["note"] = self.note
        return {
            "name": EVENT,
            "timestamp": moment,
            "user": {"uid": self.customer_id or fixed_customer(self.record_id)},
            "properties": properties,
            "schema": {"properties": {"record_id": "int", "updated_at": "date"}},
        }


def fixed_customer(record_id: int) -> str:
    """Return the customer that a person adds to a record without one."""
    return f"fixed-{record_id}"


class Records(Table):
    """
    Write to the table as an application does, and remember every version of every row.

    :param warehouse: The database.
    :param counts: Counts what is written.
    :param only_grows: Whether rows are only added, each after all others: all that a watermark alone can see.
    """

    def __init__(self, warehouse: Warehouse, counts: Counter[str], *, only_grows: bool) -> None:
        super().__init__(warehouse, counts, _TABLE)
        self._only_grows = only_grows
        self._last = START
        self._last_id = 0
        self.versions: dict[tuple[int, datetime], Version] = {}
        self._current: dict[int, Version] = {}

    def conclude(self) -> None:
        """Write nothing: each version that is to be imported is there."""

    def differences(self, emulator: EmulatorClient) -> Differences:
        """Return how the events that FullStory has differ from the versions of all rows."""
        return compare(self.versions.values(), imported_events(emulator.url), self.seen)

    def _of_an_hour(self, cursor: Any, now: datetime, chance: random.Random) -> list[Version]:
        versions = [self._new(now, chance) for _ in range(chance.randint(4, 14))]
        if not self._only_grows:
            versions += self._updated(now, chance)
            versions += self._repaired(now, chance)
            versions += [self._late(now - HOUR, chance) for _ in range(chance.randint(0, 3))]
        self._execute(cursor, versions)
        if not self._only_grows and chance.random() < 0.2:
            self._double(cursor, chance.choice(versions))
        return versions

    def _during_a_read(self, now: datetime, chance: random.Random) -> list[Version]:
        if self._only_grows:
            return [self._new(now + timedelta(minutes=1), chance) for _ in range(chance.randint(1, 4))]
        return [self._late(now, chance) for _ in range(chance.randint(1, 4))]

    def _note(self, version: Version) -> None:
        self.versions[version.key] = version
        self._current[version.record_id] = version
        self._last = max(self._last, version.updated_at)

    def _execute(self, cursor: Any, versions: list[Version]) -> None:
        for version in versions:
            values = (version.customer_id, version.updated_at, version.amount, version.note)
            if version.record_id in self._current:
                cursor.execute(_UPDATE, (*values, version.record_id))
            else:
                cursor.execute(_INSERT, (version.record_id, *values))
            self._counts["versions of rows"] += 1

    def _double(self, cursor: Any, version: Version) -> None:
        """Insert a row that is there already, in the same transaction."""
        if version.is_refused or version.record_id in self._current:
            return
        values = (version.customer_id, version.updated_at, version.amount, version.note)
        cursor.execute(_INSERT, (version.record_id, *values))
        self._counts["rows that are there twice"] += 1

    def _new(self, now: datetime, chance: random.Random) -> Version:
        return self._version(self._next_id(), self._moment(now, chance), chance)

    def _late(self, before: datetime, chance: random.Random) -> Version:
        self._counts["late rows"] += 1
        age = chance.uniform(0, LATEST.total_seconds())
        return self._version(self._next_id(), before - timedelta(seconds=round(age)), chance)

    def _updated(self, now: datetime, chance: random.Random) -> list[Version]:
        """Return new versions of rows that a run has seen."""
        known = [one for one in self._current.values() if one.committed <= self.seen and not one.is_refused]
        chosen = chance.sample(known, min(len(known), chance.randint(0, 6)))
        self._counts["updates"] += len(chosen)
        return [self._version(one.record_id, self._moment(now, chance), chance) for one in chosen]

    def _repaired(self, now: datetime, chance: random.Random) -> list[Version]:
        """Return new versions of rows that were refused, which are well now."""
        refused = [one for one in self._current.values() if one.is_refused and one.fixed == "no"]
        chosen = chance.sample(refused, min(len(refused), chance.randint(0, 1)))
        self._counts["refused rows fixed in the warehouse"] += len(chosen)
        return [
            Version(one.record_id, "repaired", self._moment(now, chance), one.amount, None) for one in chosen
        ]

    def _version(self, record_id: int, updated_at: datetime, chance: random.Random) -> Version:
        kind = chance.random()
        customer = None if kind < 0.02 else f"customer-{chance.randrange(500)}"
        note = REJECTED_NOTE if 0.02 < kind < 0.04 else chance.choice([None, "Größe 📦", "x"])
        self._counts["rows without a customer"] += customer is None
        self._counts["rows that FullStory rejects"] += note == REJECTED_NOTE
        return Version(record_id, customer, updated_at, Decimal(chance.randrange(10**6)) / 100, note)

    def _moment(self, now: datetime, chance: random.Random) -> datetime:
        """Return a time in the hour before; often the same one."""
        begin = max(self._last, now - HOUR) if self._only_grows else now - HOUR
        seconds = (now - begin).total_seconds()
        part = chance.choice([chance.random(), chance.randint(1, 4) / 4])
        moment = begin + timedelta(microseconds=max(1, round(part * seconds * 1e6)))
        whole = moment.replace(microsecond=0)
        return whole if whole > begin and chance.random() < 0.5 else moment

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id
