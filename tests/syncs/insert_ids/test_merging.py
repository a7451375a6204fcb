"""All ids of a sync in one order, whatever files they are in."""

from __future__ import annotations

import itertools
import struct

from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings, strategies as st

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.syncs.insert_ids.files import write_ids
from airflow_provider_fullstory.syncs.insert_ids.merging import all_ids
from airflow_provider_fullstory.syncs.record import InsertIdsRecord
from tests.conftest import attached

IDS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 20),
    st.integers(2**64 - 20, 2**64 - 1),
    st.integers(2**63 - 2, 2**63 + 2),
)


@settings(deadline=None)
@given(st.sets(IDS), st.lists(st.lists(IDS), max_size=5), st.integers(1, 8))
def test_merging_gives_each_id_once_and_in_order(older: set[int], recent: list[list[int]], run: int) -> None:
    folder = Folder(ObjectStoragePath(attached(MemoryFileSystem())))
    written = [
        write_ids(folder, number, [struct.pack(f">{len(ids)}Q", *ids)])
        for number, ids in enumerate([sorted(older), *filter(None, recent)])
    ]
    record = InsertIdsRecord(["id"], written[0] if older else None, written[1:])
    merged = list(itertools.chain.from_iterable(all_ids(folder, record, run_ids=run)))
    assert merged == sorted(older.union(*recent))


def test_without_files_there_are_no_ids(memory: str) -> None:
    assert list(all_ids(Folder(ObjectStoragePath(memory)), InsertIdsRecord(["id"]))) == []
