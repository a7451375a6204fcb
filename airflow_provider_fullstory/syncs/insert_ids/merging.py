"""Ids in one order, however many files they are in."""

from __future__ import annotations

import itertools
from array import array
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.syncs.insert_ids.files import read_ids
from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import part_bits_of, write_sorted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import SortedIds
    from airflow_provider_fullstory.syncs.record import IdsFile

#: How many ids are sorted in memory, and about how many are merged at once.
RUN_IDS: Final = 2**18


def sorted_once(folder: Folder, files: Iterable[IdsFile], run_ids: int = RUN_IDS) -> Iterator[array[int]]:
    """
    Yield the ids of files in their order and each once, block by block.

    :param folder: The folder of the sync.
    :param files: The files, whose ids are in any order.
    :param run_ids: How many ids are in memory at once.
    :raises FullStoryLedgerError: If a file is damaged.
    """
    blocks = itertools.chain.from_iterable(read_ids(folder, file) for file in files)
    with Scratch() as scratch:
        # Each is written before the next one begins, as they share a file.
        runs = [
            write_sorted(scratch, [array("Q", sorted(ids))], part_bits_of(len(ids)))
            for ids in _gathered(blocks, run_ids)
        ]
        yield from merged(runs, run_ids)


def merged(runs: Sequence[SortedIds], run_ids: int = RUN_IDS) -> Iterator[array[int]]:
    """
    Yield the ids of several runs in their order and each once, block by block.

    :param runs: The runs.
    :param run_ids: How many ids are in memory at once.
    """
    part_bits = (sum(run.count for run in runs) // run_ids).bit_length()
    for part in range(2**part_bits):
        if ids := sorted(itertools.chain.from_iterable(run.part(part, part_bits) for run in runs)):
            yield array("Q", dict.fromkeys(ids))


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
