"""The rows of the warehouse, and whether each of them is in FullStory exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from demo.comparison import imported_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse

BATCH_SIZE = 5_000
_TABLE = """
    CREATE TABLE records AS
    SELECT record_id,
           'customer-' || record_id % 9973 AS customer_id,
           TIMESTAMPTZ '2026-01-01 00:00:00+00' + record_id * INTERVAL '7 seconds' AS happened_at,
           (record_id % 100000)::numeric(10, 2) / 100 AS amount,
           CASE WHEN record_id % 3 = 0 THEN NULL ELSE 'Größe ' || record_id % 50 || ' 📦' END AS note,
           CASE WHEN record_id > {half} OR record_id > {half} - 10000 AND record_id % 97 = 0
                THEN 2 ELSE 1 END AS load
    FROM generate_series(1, {count}) AS record_id
"""
#: Some records of the second load are older than the last ones of the first, by less than a day.
_LOADS = "CREATE TABLE loads AS SELECT 1 AS number"
_INTERVAL = timedelta(seconds=7)


@dataclass(frozen=True)
class Differences:
    """
    How FullStory differs from the warehouse.

    :param lost: Records that are not there.
    :param doubled: Records that are there more than once.
    :param altered: Records that are not as the warehouse has them.
    """

    lost: list[int]
    doubled: list[int]
    altered: list[int]

    def __str__(self) -> str:
        return ", ".join(
            f"{len(numbers):,} {what} (such as {', '.join(map(str, numbers[:5]))})"
            for what, numbers in (("lost", self.lost), ("doubled", self.doubled), ("altered", self.altered))
            if numbers
        )

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.altered)


def create_records(warehouse: Warehouse, count: int) -> None:
    """Fill the warehouse with records."""
    with warehouse.cursor() as cursor:
        cursor.execute(_TABLE.format(count=count, half=count // 2))
        cursor.execute(_LOADS)


def load_records(warehouse: Warehouse, number: int) -> None:
    """Let syncs that remember find the first load of records, or both."""
    with warehouse.cursor() as cursor:
        cursor.execute("UPDATE loads SET number = %s", (number,))


def last_moment(count: int) -> datetime:
    """Return when the last of so many records happened."""
    return datetime(2026, 1, 1, tzinfo=UTC) + count * _INTERVAL


def compare_records(warehouse: Warehouse, emulator: EmulatorClient) -> Differences:
    """Compare every record of the warehouse with what was really imported."""
    return differences(dict(_expected_events(warehouse)), imported_events(emulator.url))


def differences(expected: dict[int, dict[str, Any]], imported: Iterable[dict[str, Any]]) -> Differences:
    """Compare the event that each record should become with events that were imported."""
    found: Counter[int] = Counter()
    altered: list[int] = []
    for event in imported:
        number = event["properties"]["record_id"]
        found[number] += 1
        if event != expected.get(number):
            altered.append(number)
    return Differences(
        lost=[number for number in expected if number not in found],
        doubled=[number for number, times in found.items() if times > 1],
        altered=altered,
    )


def _expected_events(warehouse: Warehouse) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what each row should become, without the help of what is being checked."""
    with warehouse.cursor() as cursor:
        cursor.execute("SELECT record_id, customer_id, happened_at, amount, note FROM records")
        for record_id, customer_id, happened_at, amount, note in cursor:
            properties = {"record_id": record_id, "amount": amount}
            if note is not None:
                properties["note"] = note
            yield (
                record_id,
                {
                    "name": "Order Completed",
                    "timestamp": f"{happened_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
                    "user": {"uid": customer_id},
                    "properties": properties,
                    "schema": {"properties": {"record_id": "int"}},
                },
            )
