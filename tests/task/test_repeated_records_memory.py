"""Large records that may repeat others are not held until there are many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fullstory.records.kinds import USERS
from airflow_provider_fullstory.records.mapping import map_records
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.task.repeated_records import without_repeated

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 4 * CHUNK_ROWS
LARGE = "x" * 1_000


def test_few_bytes_are_held() -> None:
    read = 0
    held: list[int] = []

    def users() -> Iterator[dict[str, str]]:
        nonlocal read
        for row in range(2 * ROWS):
            read += 1
            yield {"uid": f"u{row % ROWS}", "note": LARGE}

    passed = refused = 0
    chunks = map_records(users(), MappingOptions(USERS))
    for chunk in without_repeated(USERS, chunks, most_held_bytes=CHUNK_ROWS * len(LARGE)):
        passed += len(chunk.records)
        refused += len(chunk.invalid)
        held.append(read - passed - refused)

    assert (passed, refused) == (ROWS, ROWS)
    assert max(held) <= CHUNK_ROWS
