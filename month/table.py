"""A table that is synced: what is written to it, and what was committed when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections import Counter

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse
    from month.comparison import Differences

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
#: What a sync subtracts from its watermark.
LAG: Final = timedelta(minutes=15)
#: How much later than its value of updated_at a row is committed, at most.
LATEST: Final = timedelta(minutes=14)
#: FullStory rejects records with this note.
REJECTED_NOTE: Final = "refused by FullStory"


class Table(ABC):
    """
    Write to a table as an application does.

    :param warehouse: The database.
    :param counts: Counts what is written.
    :param definition: The statement that makes the table.
    """

    def __init__(self, warehouse: Warehouse, counts: Counter[str], definition: str) -> None:
        self._warehouse = warehouse
        self._counts = counts
        self._open: list[Any] = []
        self._transaction = ExitStack()
        #: Counts commits.
        self.moment = 0
        #: All that was committed up to this moment was seen by a run that is green.
        self.seen = 0
        with warehouse.cursor() as cursor:
            cursor.execute(definition)

    def write(self, hour: int, chance: random.Random) -> None:
        """Commit what an hour brings."""
        with self._warehouse.cursor() as cursor:
            versions = self._of_an_hour(cursor, START + (hour + 1) * HOUR, chance)
        self._commit(versions)

    def begin(self, hour: int, chance: random.Random) -> None:
        """Write what is committed later, by `commit`."""
        cursor = self._transaction.enter_context(self._warehouse.cursor())
        self._open = self._during_a_read(START + (hour + 1) * HOUR, chance)
        self._execute(cursor, self._open)

    def commit(self) -> None:
        """Commit what was begun."""
        self._transaction.close()
        if self._open:
            self._counts["rows committed during a read"] += len(self._open)
            self._commit(self._open)
        self._open = []

    @abstractmethod
    def conclude(self) -> None:
        """Commit what the last run of the month is to find."""

    @abstractmethod
    def differences(self, emulator: EmulatorClient) -> Differences:
        """Return how FullStory differs from the table."""

    def sent_again(self, emulator: EmulatorClient) -> list[str]:  # noqa: ARG002 - Others look.
        """Return what was sent again, if `differences` does not show that; it takes its time."""
        return []

    @abstractmethod
    def _of_an_hour(self, cursor: Any, now: datetime, chance: random.Random) -> list[Any]:
        """Write what an hour brings, and return it."""

    @abstractmethod
    def _during_a_read(self, now: datetime, chance: random.Random) -> list[Any]:
        """Return what is to be committed while the table is read."""

    @abstractmethod
    def _execute(self, cursor: Any, versions: list[Any]) -> None:
        """Write versions of rows."""

    def _commit(self, versions: list[Any]) -> None:
        self.moment += 1
        for version in versions:
            version.committed = self.moment
            self._note(version)

    @abstractmethod
    def _note(self, version: Any) -> None:
        """Remember a version that is committed."""
