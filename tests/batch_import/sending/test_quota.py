"""Batches wait on the worker's disk until all of them are known to fit into the quota."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.api.organization import Quota
from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.batch_import.sending.quota import RemainingQuota
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records
from airflow_provider_fullstory.records.options import MappingOptions
from tests.tries import orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.batch_import.batching.batch import Batch


def made(count: int) -> list[Batch]:
    options = MappingOptions(EVENTS)
    batcher = Batcher(RunIdentity("dag", "run-1", "task"), BatchLimits(records=10), options, print)
    batches = batcher.batches(map_records(orders(count), options))
    return [dataclasses.replace(batch, insert_ids=batch.name.encode()) for batch in batches]


@pytest.mark.parametrize("count", [0, 1, 10, 11, 95])
@pytest.mark.parametrize("limit", [None, -1, 10**9, 500_000, 100])
def test_held_batches_come_out_as_they_went_in(count: int, limit: int | None) -> None:
    batches = made(count)

    held = list(RemainingQuota(Quota(limit=limit)).within(iter(batches)))

    assert held == batches
    assert [batch.insert_ids for batch in held] == [batch.insert_ids for batch in batches]


def test_nothing_is_taken_before_it_is_asked_for_and_nothing_given_before_all_is_known() -> None:
    seen: list[str] = []

    def source() -> Iterator[Batch]:
        for batch in made(30):
            seen.append(batch.name)
            yield batch

    held = RemainingQuota(Quota(limit=30)).within(source())
    assert seen == []
    assert next(held).name == "1"
    assert seen == ["1", "2", "3"]
