"""
What insert ids cost an import: the engine with and without them, from PostgreSQL.

``python -m benchmarks.sync`` sends the same orders in turns, as new records of syncs that know 0, 1 and 10
million others, and prints medians.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import statistics
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from upath import UPath

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.syncs.insert_ids.files import write_ids
from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds
from airflow_provider_fullstory.syncs.record import InsertIdsRecord, SyncRecord, write_record
from benchmarks import orders
from benchmarks.machine import write_results
from benchmarks.pipeline import place_of, running_sink
from benchmarks.process import Measurement, measure
from demo.services import temporary_directory
from demo.warehouse import Warehouse

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS: Final = "order_id,timestamp"
_ENGINE: Final = "benchmarks.contenders.engine"
#: The insert id and how many others are known; no insert id for the engine alone.
_CASES: Final = ((None, 0), (_COLUMNS, 0), (_COLUMNS, 1), (_COLUMNS, 10), ("*", 10))


def prepare(directory: Path, millions: int, insert_id: str) -> Path:
    """
    Make the folder of a sync that knows some random insert ids.

    :param directory: Where.
    :param millions: How many.
    :param insert_id: What the sync makes them of.
    """
    path = directory / f"sync-{millions}-{len(insert_id)}"
    folder = Folder(UPath(f"file://{path}"))  # type: ignore[arg-type]
    chance = random.Random(millions)  # noqa: S311
    definition = [insert_id] if insert_id == "*" else ["properties.order_id", "timestamp"]
    known = InsertIdsRecord(definition)
    if millions:
        pieces = (chance.randbytes(8_000_000) for _ in range(millions))
        known = InsertIdsRecord(definition, recent=[write_ids(folder, 1, pieces)])
        with ImportedIds(folder, known) as imported:
            known = imported.fold(known, 2) or known
    write_record(folder, SyncRecord("benchmark", insert_ids=known))
    return path


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    took: dict[tuple[str | None, int], list[Measurement]] = {case: [] for case in _CASES}
    with temporary_directory() as directory, running_sink(0.0) as sink:
        warehouse = Warehouse(directory)
        try:
            warehouse.start()
            orders.create(warehouse, arguments.rows)
            place = place_of(directory, sink)
            folders = {case: prepare(directory, case[1], case[0]) for case in _CASES if case[0]}
            for _ in range(arguments.rounds):
                for case in _CASES:
                    insert_id, _ = case
                    given = (
                        ("send_sync", place, insert_id, str(folders[case])) if insert_id else ("send", place)
                    )
                    took[case].append(measure(_ENGINE, *given))  # type: ignore[arg-type]
        finally:
            warehouse.stop()
    table = Table("Insert id", "Known ids", "Seconds", "us a record", "Beside none", "Peak MB")
    alone = statistics.median(one.seconds for one in took[_CASES[0]])
    for (insert_id, millions), ones in took.items():
        seconds = statistics.median(one.seconds for one in ones)
        table.add_row(
            insert_id or "none",
            f"{millions * 1_000_000:,}",
            f"{seconds:.1f}",
            f"{seconds / arguments.rows * 1e6:.2f}",
            f"{seconds / alone:.2f}",
            f"{max(one.peak_bytes for one in ones) / 1e6:.0f}",
        )
    console.print(table)
    results = [
        {"insert_id": insert_id, "known": millions * 1_000_000, "runs": list(map(dataclasses.asdict, ones))}
        for (insert_id, millions), ones in took.items()
    ]
    console.print(f"Written to {write_results('sync', results)}.")


if __name__ == "__main__":
    main()
