"""Ids in one order, however many files they are in. Of keyed ids with the same key, the last one counts."""

from __future__ import annotations

import itertools
from array import array
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.syncs.insert_ids.files import read_ids
from airflow_provider_fullstory.syncs.insert_ids.scratch import ID_BYTES, Scratch, contents_of, keys_of
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import part_bits_of, write_sorted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import SortedIds
    from airflow_provider_fullstory.syncs.record import IdsFile

#: How many ids are sorted in memory, and about how many are merged at once.
RUN_IDS: Final = 2**18


def sorted_once(
    folder: Folder, files: Iterable[IdsFile], id_bytes: int = ID_BYTES, run_ids: int = RUN_IDS
) -> Iterator[array[int]]:
    """
    Yield the ids of files in their order and each once, block by block.

    :param folder: The folder of the sync.
    :param files: The files, whose ids are in any order. Among equal keys, those of later files are the later.
    :param id_bytes: The bytes of an id.
    :param run_ids: How many ids are in memory at once.
    :raises FullStoryLedgerError: If a file is damaged.
    """
    blocks = itertools.chain.from_iterable(read_ids(folder, file, id_bytes) for file in files)
    numbers = id_bytes // ID_BYTES
    with Scratch(id_bytes) as scratch:
        # Each is written before the next one begins, as they share a file.
        runs = [
            write_sorted(
                scratch,
                [array("Q", sorted(ids) if id_bytes == ID_BYTES else _latest(ids, id_bytes))],
                part_bits_of(len(ids) // numbers),
            )
            for ids in _gathered(blocks, run_ids * numbers)
        ]
        yield from merged(runs, run_ids)


def merged(runs: Sequence[SortedIds], run_ids: int = RUN_IDS) -> Iterator[array[int]]:
    """
    Yield the ids of several runs in their order and each once, block by block.

    :param runs: The runs, the latest at the end.
    :param run_ids: How many ids are in memory at once.
    """
    id_bytes = runs[0].id_bytes if runs else ID_BYTES
    part_bits = (sum(run.count for run in runs) // run_ids).bit_length()
    for part in range(2**part_bits):
        ids = itertools.chain.from_iterable(run.part(part, part_bits) for run in runs)
        once = dict.fromkeys(sorted(ids)) if id_bytes == ID_BYTES else _latest(array("Q", ids), id_bytes)
        if once:
            yield array("Q", once)


def _latest(ids: array[int], id_bytes: int) -> array[int]:
    """Return keyed ids in the order of their keys, the last one of each key."""
    latest = dict(zip(keys_of(ids, id_bytes), contents_of(ids, id_bytes), strict=True))
    return array("Q", itertools.chain.from_iterable(sorted(latest.items())))


def _gathered(blocks: Iterable[array[int]], count: int) -> Iterator[array[int]]:
    """Yield so many numbers of several blocks together."""
    gathered = array("Q")
    for block in blocks:
        gathered.extend(block)
        if len(gathered) >= count:
            yield gathered
            gathered = array("Q")
    if gathered:
        yield gathered
