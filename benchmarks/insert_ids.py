"""
What insert ids cost a record, and that memory does not grow with their number, beside SQLite.

``python -m benchmarks.insert_ids`` imports 1,000,000 records with 1,000,000 and 10,000,000 known insert ids,
once with new ids only and once with known ones only, each in its own process, and prints the processor's
time. Hashing is not included. Also opens them with 20 files of recent ids beside the sorted ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sqlite3
import subprocess
import sys
import time
from array import array
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from airflow.providers.common.compat.sdk import ObjectStoragePath
from rich.console import Console
from rich.table import Table

from airflow_provider_fullstory.api.events import Event
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.syncs.insert_ids.files import write_ids
from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds
from airflow_provider_fullstory.syncs.insert_ids.scratch import to_bytes
from airflow_provider_fullstory.syncs.record import InsertIdsRecord
from benchmarks.machine import write_results
from benchmarks.process import peak_bytes
from demo.services import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEEDS: Final = {"known": 1, "new": 2, "recent": 3}
_KINDS: Final = ("known", "new")
#: Files of recent ids, and how many ids each has.
_RECENT: Final = (20, 10_000)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """
    What an import took.

    :param way: How ids are kept.
    :param known: How many ids were known.
    :param ids: Which ids its records had.
    :param opening_seconds: The processor's time until the first record.
    :param record_microseconds: The processor's time for each record.
    :param peak_bytes: The most memory that the process had.
    """

    way: str
    known: int
    ids: str
    opening_seconds: float
    record_microseconds: float
    peak_bytes: int


def chunks(kind: str, count: int) -> Iterator[list[int]]:
    """
    Yield random ids, the same in each process.

    :param kind: Known or new ones.
    :param count: How many.
    """
    chance = random.Random(_SEEDS[kind])  # noqa: S311
    for _ in range(count // CHUNK_ROWS):
        yield array("Q", chance.randbytes(CHUNK_ROWS * 8)).tolist()


def prepare(directory: Path, known: int, *, with_sqlite: bool) -> float:
    """
    Make the known ids as each way keeps them, and return the seconds of merging files of 50,000 ids.

    :param directory: Where.
    :param known: How many.
    :param with_sqlite: Whether SQLite is measured as well.
    """
    if with_sqlite:
        with closing(sqlite3.connect(directory / "ids.db")) as database:
            database.execute("CREATE TABLE ids (id INTEGER PRIMARY KEY)")
            rows = ((one - 2**63,) for ids in chunks("known", known) for one in ids)
            database.executemany("INSERT INTO ids VALUES (?)", rows)
            database.commit()
    folder, files, gathered = _folder(directory), [], array("Q")
    for ids in chunks("known", known):
        gathered.extend(ids)
        if len(gathered) == 50_000:
            files.append(write_ids(folder, len(files) + 1, [to_bytes(gathered)]))
            gathered = array("Q")
    record = InsertIdsRecord(["id"], recent=files)
    began = time.process_time()
    with ImportedIds(folder, record) as imported:
        took = time.process_time() - began
        folded = imported.fold(record, 1)
    (directory / "record.json").write_bytes(msgspec.json.encode(folded))
    count, ids_each = _RECENT
    chance = random.Random(_SEEDS["recent"])  # noqa: S311
    recent = [write_ids(folder, number, [chance.randbytes(8 * ids_each)]) for number in range(count)]
    beside = msgspec.structs.replace(folded or record, recent=recent)
    (directory / "record-recent.json").write_bytes(msgspec.json.encode(beside))
    return took


def sqlite(directory: Path, known: int, kind: str, count: int) -> Measurement:
    """Look up the ids of each chunk in SQLite, and insert the new ones."""
    skipped = 0
    with closing(sqlite3.connect(directory / "ids.db")) as database:
        query = f"SELECT id FROM ids WHERE id IN ({','.join('?' * CHUNK_ROWS)})"  # noqa: S608
        began = time.process_time()
        for ids in chunks(kind, count):
            signed = sorted(one - 2**63 for one in ids)
            found = {row[0] for row in database.execute(query, signed)}
            skipped += len(found)
            new = [(one,) for one in signed if one not in found]
            database.executemany("INSERT OR IGNORE INTO ids VALUES (?)", new)
        took = time.process_time() - began
        # The next process finds the same ids.
        database.rollback()
    _check(skipped, kind, count)
    return Measurement("SQLite", known, kind, 0, took / count * 1e6, peak_bytes())


def sorted_file(
    directory: Path,
    known: int,
    kind: str,
    count: int,
    *,
    way: str = "sorted file",
    record_name: str = "record.json",
) -> Measurement:
    """Leave out known records as an import does."""
    record = msgspec.json.decode((directory / record_name).read_bytes(), type=InsertIdsRecord)
    records: list[msgspec.Struct] = [Event(name="Order Updated")] * CHUNK_ROWS
    positions = range(CHUNK_ROWS)
    mapped = (MappedChunk(records, positions, [], insert_ids=ids) for ids in chunks(kind, count))
    folder = _folder(directory)
    # Loads what Airflow needs for object storage, as reading the record of the sync does.
    folder.write("read", b"")
    folder.read("read")
    began = time.process_time()
    with ImportedIds(folder, record) as imported:
        opened = time.process_time()
        sent = sum(len(chunk.records) for chunk in imported.new_only(mapped))
        took = time.process_time() - opened
    _check(imported.skipped, kind, count)
    if sent + imported.skipped != count:
        raise AssertionError("Records were lost.")
    return Measurement(way, known, kind, opened - began, took / count * 1e6, peak_bytes())


def recent_files(directory: Path, known: int, kind: str, count: int) -> Measurement:
    """Leave out known records with files of recent ids beside the sorted ones."""
    return sorted_file(directory, known, kind, count, way="recent files", record_name="record-recent.json")


_WAYS: Final = {"sqlite": sqlite, "sorted_file": sorted_file, "recent_files": recent_files}


def _folder(directory: Path) -> Folder:
    return Folder(ObjectStoragePath(f"file://{directory}/sync"))


def _check(skipped: int, kind: str, count: int) -> None:
    if skipped != {"known": count, "new": 0}[kind]:
        raise AssertionError(f"{skipped} of {count} {kind} records were skipped.")


def _measure(*arguments: str) -> Measurement:
    command = [sys.executable, "-m", "benchmarks.insert_ids", "--one", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.insert_ids", description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--ways", choices=_WAYS, nargs="+", default=list(_WAYS))
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, directory, known, kind = arguments.one
        measurement = _WAYS[way](Path(directory), int(known), kind, arguments.records)
        print(json.dumps(dataclasses.asdict(measurement)))
        return
    console = Console(highlight=False, soft_wrap=True)
    table = Table("Way", "Known ids", "Records", "Opening, s", "us a record", "Peak MB")
    measured: list[Measurement] = []
    for known in (int(millions * 1_000_000) for millions in arguments.millions):
        with temporary_directory() as directory:
            merging = prepare(directory, known, with_sqlite="sqlite" in arguments.ways)
            console.print(f"Merging {known:,} ids from files of 50,000: {merging:.1f} s")
            records = min(arguments.records, known)
            for way in arguments.ways:
                for kind in _KINDS:
                    one = _measure(way, str(directory), str(known), kind, "--records", str(records))
                    measured.append(one)
                    table.add_row(
                        one.way,
                        f"{known:,}",
                        f"{records:,} {kind}",
                        f"{one.opening_seconds:.2f}",
                        f"{one.record_microseconds:.2f}",
                        f"{one.peak_bytes / 1e6:.1f}",
                    )
    console.print(table)
    results = [dataclasses.asdict(one) for one in measured]
    console.print(f"Written to {write_results('insert_ids', results)}.")


if __name__ == "__main__":
    main()
