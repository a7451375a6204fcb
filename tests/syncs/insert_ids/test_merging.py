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


PAIRS = st.lists(st.tuples(IDS, st.integers(0, 3)))


def numbers_of(contents: dict[int, int]) -> list[int]:
    """Return the latest content of each key as files have them."""
    return list(itertools.chain.from_iterable(sorted(contents.items())))


@settings(deadline=None)
@given(st.lists(PAIRS, max_size=5), st.integers(1, 8))
def test_of_equal_keys_in_files_the_last_one_counts(files: list[list[tuple[int, int]]], run: int) -> None:
    folder = Folder(ObjectStoragePath(attached(MemoryFileSystem())))
    written = [
        write_ids(folder, number, [struct.pack(">2Q", *pair) for pair in pairs], 16)
        for number, pairs in enumerate(filter(None, files))
    ]
    latest = dict(itertools.chain.from_iterable(files))
    blocks = sorted_once(folder, written, 16, run_ids=run)
    assert list(itertools.chain.from_iterable(blocks)) == numbers_of(latest)


@settings(deadline=None)
@given(st.lists(st.dictionaries(IDS, st.integers(0, 3)), max_size=3), st.integers(1, 8), st.integers(0, 9))
def test_of_equal_keys_in_runs_the_last_one_counts(
    runs: list[dict[int, int]], run: int, part_bits: int
) -> None:
    with Scratch(16) as scratch:
        written = [write_sorted(scratch, [array("Q", numbers_of(ids))], part_bits) for ids in runs]
        merged_ids = list(itertools.chain.from_iterable(merged(written, run_ids=run)))
    latest = {key: content for ids in runs for key, content in ids.items()}
    assert merged_ids == numbers_of(latest)
