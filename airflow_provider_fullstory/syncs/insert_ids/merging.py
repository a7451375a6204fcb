"""All ids of a sync in one sorted file on the worker's disk, however many files they are in."""

from __future__ import annotations

import itertools
from array import array
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.syncs.insert_ids.files import read_ids, read_sorted_ids
from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import SortedIds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.record import InsertIdsRecord

#: How many ids are sorted in memory, and about how many are merged at once.
RUN_IDS: Final = 2**17


def all_ids(folder: Folder, record: InsertIdsRecord, run_ids: int = RUN_IDS) -> Iterator[array[int]]:
    """
    Yield all ids of a sync in their order and each once, block by block.

    :param folder: The folder of the sync.
    :param record: What the record of the sync says about them.
    :param run_ids: How many ids are in memory at once.
    :raises FullStoryLedgerError: If a file is damaged.
    """
    older = read_sorted_ids(folder, record.sorted) if record.sorted else iter(())
    if not record.recent:
        yield from older
        return
    recent = itertools.chain.from_iterable(read_ids(folder, file) for file in record.recent)
    part_bits = (record.count // run_ids).bit_length()
    with Scratch() as scratch:
        runs = [_run(older, scratch, part_bits)]
        # Each is written before the next one begins, as they share a file.
        runs.extend(_run([array("Q", sorted(ids))], scratch, part_bits) for ids in _gathered(recent, run_ids))
        for part in range(2**part_bits):
            yield _merged([run.part(part) for run in runs])


def _run(blocks: Iterable[array[int]], scratch: Scratch, part_bits: int) -> SortedIds:
    run = SortedIds(scratch, part_bits)
    for block in blocks:
        run.append(block)
    run.finish()
    return run


def _gathered(blocks: Iterable[array[int]], count: int) -> Iterator[array[int]]:
    """Yield the ids of several blocks together."""
    gathered = array("Q")
    for block in blocks:
        gathered.extend(block)
        if len(gathered) >= count:
            yield gathered
            gathered = array("Q")
    if gathered:
        yield gathered


def _merged(sorted_ids: Iterable[array[int]]) -> array[int]:
    ids = list(itertools.chain.from_iterable(sorted_ids))
    # The sort finds what is in order already.
    ids.sort()
    return array("Q", dict.fromkeys(ids))
