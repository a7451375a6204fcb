"""All ids of a sync in one order, whatever files they are in."""

from __future__ import annotations

import itertools
import struct
from array import array

from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings, strategies as st

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.syncs.insert_ids.files import write_ids
from airflow_provider_fullstory.syncs.insert_ids.merging import merged, sorted_once
from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import write_sorted
from tests.conftest import attached

IDS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 20),
    st.integers(2**64 - 20, 2**64 - 1),
    st.integers(2**63 - 2, 2**63 + 2),
)


@settings(deadline=None)
@given(st.lists(st.lists(IDS), max_size=5), st.integers(1, 8))
def test_files_give_each_id_once_and_in_order(files: list[list[int]], run: int) -> None:
    folder = Folder(ObjectStoragePath(attached(MemoryFileSystem())))
    written = [
        write_ids(folder, number, [struct.pack(f">{len(ids)}Q", *ids)])
        for number, ids in enumerate(filter(None, files))
    ]
    assert list(itertools.chain.from_iterable(sorted_once(folder, written, run_ids=run))) == sorted(
        set().union(*files)
    )


@settings(deadline=None)
@given(st.lists(st.sets(IDS), max_size=3), st.integers(1, 8), st.integers(0, 9))
def test_merging_gives_each_id_once_and_in_order(runs: list[set[int]], run: int, part_bits: int) -> None:
    with Scratch() as scratch:
        written = [write_sorted(scratch, [array("Q", sorted(ids))], part_bits) for ids in runs]
        merged_ids = list(itertools.chain.from_iterable(merged(written, run_ids=run)))
    assert merged_ids == sorted(set().union(*runs))


def test_without_files_there_are_no_ids(memory: str) -> None:
    assert list(sorted_once(Folder(ObjectStoragePath(memory)), [])) == []
