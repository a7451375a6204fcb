"""Python rarely searches for garbage while an import reads its source, and as before it afterwards."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.garbage import rarely_searched
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_rows
from airflow_provider_fullstory.records.options import MappingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient

THRESHOLDS = (700, 10, 10)


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    yield
    gc.set_threshold(*before)


def test_whatever_ends_it_searches_are_as_before() -> None:
    inside = []

    @rarely_searched()
    def fail() -> None:
        inside.append(gc.get_threshold())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert inside == [(50_000, 10, 10)]
    assert gc.get_threshold() == THRESHOLDS


def test_imports_at_the_same_time_do_not_leave_searches_rare() -> None:
    one, other = rarely_searched(), rarely_searched()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    other.__exit__(None, None, None)

    assert gc.get_threshold() == THRESHOLDS


def test_what_is_set_meanwhile_stays() -> None:
    with rarely_searched():
        gc.set_threshold(5, 5, 5)

    assert gc.get_threshold() == (5, 5, 5)


@pytest.mark.parametrize("own", [(0, 10, 10), (100_000, 5, 5)])
def test_what_a_user_has_set_is_left_alone(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)

    with rarely_searched():
        assert gc.get_threshold() == own

    assert gc.get_threshold() == own


@pytest.mark.parametrize("is_staged", [False, True])
def test_the_operator_reads_its_source_so(
    emulator: EmulatorClient, context: Any, is_staged: bool, tmp_path: Any
) -> None:
    seen: list[tuple[int, int, int]] = []

    def events() -> Iterator[dict[str, Any]]:
        seen.append(gc.get_threshold())
        yield {"name": "Order", "user.uid": "u"}

    FullStoryImportEventsOperator(
        task_id="import",
        events=events(),
        state_uri=str(tmp_path) if is_staged else None,
        stage_batches=is_staged,
        poll_interval=0.01,
    ).execute(context)

    assert seen == [(50_000, 10, 10)]
    assert gc.get_threshold() == THRESHOLDS
    assert len(emulator.events()) == 1


def test_records_alone_cause_no_search() -> None:
    columns = ["user.uid", "n", "details"]

    def chunks() -> Iterator[list[tuple[Any, ...]]]:
        for start in range(0, 200_000, 500):
            yield [(f"u{n}", n, {"tags": ["a", f"b{n}"]}) for n in range(start, start + 500)]

    def searches() -> int:
        searched: list[str] = []
        gc.callbacks.append(lambda phase, _: searched.append(phase))
        try:
            batcher = Batcher(
                RunIdentity("d", "r", "t"), BatchLimits(), MappingOptions(EVENTS), lambda _: None
            )
            batches = batcher.batches(map_rows(columns, chunks(), MappingOptions(EVENTS, name="A")))
            assert sum(batch.records for batch in batches) == 200_000
        finally:
            gc.callbacks.pop()
        return searched.count("start")

    assert searches() > 100
    with rarely_searched():
        # Whatever else the process does may cause one or two.
        assert searches() <= 2
