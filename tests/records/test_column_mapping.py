"""The work of mapping grows as the columns do, not as their square."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryMappingError
from tests.records.sending import send_records, send_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

FEW, MANY = 200, 800


def steps_of(work: Callable[[], object]) -> int:
    """Return how many instructions of Python work takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def keys(count: int, form: str) -> dict[str, int]:
    # Names of one length, and none was seen before.
    return {form.format(number): number for number in range(1000, 1000 + count)}


def rows(count: int, form: str) -> Any:
    record = keys(count, form)
    return send_rows(list(record), [tuple(record.values())] * 2)


def declared(count: int, value: Any) -> Any:
    types = {f"d_{number}": "int" for number in range(1000, 1000 + count)}
    record = dict.fromkeys(types, value) | {"schema": {"properties": types}}
    return send_records([record], schema=types)


WAYS: dict[str, Callable[[int], Any]] = {
    "columns": lambda count: rows(count, "a_{}"),
    "columns in objects": lambda count: rows(count, "properties.b_{}.x"),
    "keys": lambda count: send_records([keys(count, "c_{}")] * 2),
    "keys of an object": lambda count: send_records([{"x": keys(count, "e_{}")}] * 2),
    "mapped keys": lambda count: send_records(
        [keys(count, "F_{}")], mapping={f"properties.m_{key}": key for key in keys(count, "f_{}")}
    ),
    "declared keys": lambda count: declared(count, 5),
    "refused keys": lambda count: declared(count, b"bytes"),
    "keys that clash": lambda count: send_records([keys(count, "g_{}") | keys(count, "properties.g_{}")]),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_work_grows_as_the_columns_do(way: Callable[[int], Any]) -> None:
    # What is done once for all mappings is no part of it.
    way(1)

    few, many = steps_of(lambda: way(FEW)), steps_of(lambda: way(MANY))

    assert many < few * (MANY / FEW) * 1.5


def test_a_message_lists_as_many_columns_as_a_person_reads() -> None:
    with pytest.raises(FullStoryMappingError) as caught:
        send_rows(list(keys(MANY, "h_{}")), [], mapping={"user.uid": "absent"})

    assert "'h_1049' and 750 more" in str(caught.value)
    assert "'h_1050'" not in str(caught.value)


LONG = "z" * 3000


@pytest.mark.parametrize(
    "record",
    [
        {LONG: 1},
        {f"user.{LONG}": 1},
        {f"properties.{LONG}": 1},
        {"a": {LONG: 1}},
        {"a": {"b" * 400: object()}},
        {f"a.{LONG}": 1, "b": 2},
        {"c" * 400: 1, f"properties.{'c' * 400}": 2},
    ],
)
def test_names_are_cut_in_reasons(record: dict[str, Any]) -> None:
    reason = send_records([record]).reason

    assert "..." in reason
    assert len(reason) < 500
