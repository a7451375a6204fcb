"""Batches end at their limits, halve cleanly, and carry keys that follow from run and bytes."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

import pytest

from airflow_provider_fullstory.api.events import Context, Device, Event, Shared, User
from airflow_provider_fullstory.batch_import.batching.batch import Batch, BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.refusals import InvalidRecord, Refusal

RUN = RunIdentity("dag", "run", "task")
SHARED = Shared(user=User(uid="u"), context=Context(device=Device(model='],"shared":{}')))
EMPTY_BODY = len(b'{"requests":[]}')


def chunk(*names: str) -> MappedChunk:
    return MappedChunk([Event(name=name) for name in names], range(1, len(names) + 1), [])


def fill(
    *names: str, run: RunIdentity = RUN, shared: Shared | None = None, **limits: int
) -> tuple[list[Batch], list[InvalidRecord]]:
    refused: list[InvalidRecord] = []
    batcher = Batcher(run, BatchLimits(**limits), MappingOptions(EVENTS, shared=shared), refused.extend)
    return list(batcher.batches([chunk(*names)])), refused


def names_of(batch: Batch) -> list[str]:
    return [event["name"] for event in json.loads(bytes(batch.body))["requests"]]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (2, [2]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])]
)
def test_a_batch_ends_at_its_count(count: int, sizes: list[int]) -> None:
    batches, refused = fill(*map(str, range(count)), records=3)

    assert [batch.records for batch in batches] == sizes
    assert [name for batch in batches for name in names_of(batch)] == [str(n) for n in range(count)]
    assert [batch.ordinal for batch in batches] == list(range(1, len(sizes) + 1))
    assert not refused


@pytest.mark.parametrize("shared", [None, SHARED], ids=["alone", "shared"])
def test_a_body_may_have_exactly_its_most_bytes_and_not_one_more(shared: Shared | None) -> None:
    [whole], _ = fill("aa", "bb", "cc", shared=shared)
    exact = len(whole.body)

    assert len(fill("aa", "bb", "cc", shared=shared, bytes=exact)[0]) == 1
    batches, refused = fill("aa", "bb", "cc", shared=shared, bytes=exact - 1)
    assert [names_of(batch) for batch in batches] == [["aa", "bb"], ["cc"]]
    assert all(len(bytes(batch.body)) < exact for batch in batches)
    assert not refused


@pytest.mark.parametrize("shared", [None, SHARED], ids=["alone", "shared"])
def test_a_record_that_is_too_large_alone_is_refused_and_spoils_no_other(shared: Shared | None) -> None:
    [alone], _ = fill("x" * 100, shared=shared)
    limit = len(alone.body)
    assert len(fill("x" * 100, shared=shared, bytes=limit)[0]) == 1

    batches, refused = fill("a", "x" * 101, "b", shared=shared, bytes=limit)

    assert [name for batch in batches for name in names_of(batch)] == ["a", "b"]
    [invalid] = refused
    assert invalid.position == 2
    assert invalid.refusal.reason == "the record alone has 112 bytes, more than max_batch_bytes allows"


def test_bytes_are_counted_not_characters() -> None:
    [alone], _ = fill("é" * 10)

    assert not fill("é" * 10, bytes=len(alone.body))[1]
    assert fill("é" * 11, bytes=len(alone.body))[1]


def test_limits_too_small_for_any_record_refuse_all() -> None:
    batches, refused = fill("a", "b", bytes=1)

    assert (batches, [invalid.position for invalid in refused]) == ([], [1, 2])


def test_refused_records_are_handed_on_and_no_part_of_a_batch() -> None:
    refused: list[InvalidRecord] = []
    invalid = InvalidRecord(1, Refusal("code", "reason"))

    batches = list(
        Batcher(RUN, BatchLimits(), MappingOptions(EVENTS), refused.extend).batches(
            [MappedChunk([], [], [invalid]), MappedChunk([Event(name="a")], [2], [])]
        )
    )

    assert (refused, [batch.records for batch in batches]) == ([invalid], [1])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"records": 0}, "batch_size is 0; FullStory takes 1 to 50000 records in a batch."),
        ({"records": 50_001}, "batch_size is 50001; FullStory takes 1 to 50000 records in a batch."),
        ({"records": -1}, "batch_size is -1; FullStory takes 1 to 50000"),
        ({"bytes": 0}, "max_batch_bytes is 0; it must be above 0."),
    ],
    ids=str,
)
def test_limits_that_fullstory_would_not_take_are_refused(limits: dict[str, int], message: str) -> None:
    with pytest.raises(FullStoryInputError) as caught:
        BatchLimits(**limits).check()

    assert message in str(caught.value)


@pytest.mark.parametrize("limits", [BatchLimits(), BatchLimits(1, 1), BatchLimits(50_000, 2**40)])
def test_limits_that_fullstory_takes_pass(limits: BatchLimits) -> None:
    limits.check()


@pytest.mark.parametrize("shared", [None, SHARED], ids=["alone", "shared"])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_split_batch_has_the_same_records_in_two_halves(count: int, shared: Shared | None) -> None:
    names = ['"],"shared":{', "\\", *map(str, range(count - 2))]
    [batch], _ = fill(*names, shared=shared)

    halves = batch.split()

    assert [name for half in halves for name in names_of(half)] == names
    assert [half.records for half in halves] == [count // 2, count - count // 2]
    assert [half.ordinal for half in halves] == [1, 1]
    assert len({batch.idempotency_key, *(half.idempotency_key for half in halves)}) == 3
    assert {json.dumps(json.loads(bytes(half.body)).get("shared")) for half in halves} == {
        json.dumps(json.loads(bytes(batch.body)).get("shared"))
    }
    assert batch.split() == halves


@pytest.mark.parametrize("shared", [None, SHARED], ids=["alone", "shared"])
def test_a_half_has_the_bytes_of_a_batch_of_its_records(shared: Shared | None) -> None:
    [whole], _ = fill("a", "b", "c", "d", shared=shared)
    [half], _ = fill("a", "b", shared=shared)

    assert whole.split()[0].body == half.body


def test_a_key_is_a_uuid() -> None:
    [batch], _ = fill("a")

    assert str(uuid.UUID(batch.idempotency_key)) == batch.idempotency_key


def test_the_same_run_gives_the_same_bytes_the_same_keys() -> None:
    assert fill("a", "b", "c", records=2) == fill("a", "b", "c", records=2)


def test_equal_bodies_of_one_run_have_different_keys() -> None:
    batches, _ = fill("a", "a", "a", records=1)

    assert len({bytes(batch.body) for batch in batches}) == 1
    assert len({batch.idempotency_key for batch in batches}) == 3
    assert fill("a", "a", "a", records=1)[0] == batches


@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "other"},
        {"run_id": "other"},
        {"task_id": "other"},
        {"map_index": 0},
        {"salt": "again"},
        {"dag_id": "dagrun", "run_id": ""},
        {"dag_id": 'dag", "run', "run_id": "run"},
        {"run_id": "\ud800"},
    ],
    ids=str,
)
def test_another_run_gives_the_same_bytes_other_keys(other: dict[str, Any]) -> None:
    [one], _ = fill("a")
    [two], _ = fill("a", run=dataclasses.replace(RUN, **other))

    assert one.body == two.body
    assert one.idempotency_key != two.idempotency_key


def test_a_batch_does_not_show_its_records() -> None:
    [batch], _ = fill("secret")

    assert "secret" not in repr(batch)
