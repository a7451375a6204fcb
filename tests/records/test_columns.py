"""A column converted at once is sent, declared and refused as its values are one by one."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.records import columns
from airflow_provider_fullstory.records.columns import Column, convert_column, property_column
from airflow_provider_fullstory.records.property_values import property_value

ZONE = datetime.timezone(datetime.timedelta(hours=2))

_texts = st.text(max_size=5) | st.sampled_from(["\ud800", "größer", "注文"])
_zones = st.sampled_from([None, datetime.UTC, ZONE])
_moments = st.datetimes(min_value=datetime.datetime(1, 1, 1), timezones=_zones)  # noqa: DTZ001
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**65), max_value=2**65),
    st.floats(),
    st.decimals(),
    _texts,
    st.dates(),
    _moments,
    st.uuids(),
    st.sampled_from([DECODER.decode(b"1.50"), b"bytes", {1}]),
)
_keys = st.sampled_from(["a", "b", "c_d", "a.b", "", "no name", "9"]) | st.integers(0, 1)
_few_keys = st.sampled_from(["a", "b", "c_d"])
#: Values of one kind, as the columns of a database have them.
_alike = st.one_of(
    st.integers(-5, 5), st.just("text"), st.booleans(), st.dates(), _moments, st.floats(0, 1), st.uuids()
)


def _nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=8,
    )


def _columns() -> st.SearchStrategy[list[Any]]:
    anything = st.lists(_nested(_scalars, _keys), max_size=12)
    members = st.fixed_dictionaries(
        {"number": st.integers(-3, 3), "tags": st.lists(st.sampled_from(["x", "ü"]), max_size=2)},
        optional={"on": st.none() | st.dates(), "inner": st.fixed_dictionaries({"n": st.integers(0, 3)})},
    )
    documents = st.lists(st.none() | members, min_size=4, max_size=40)
    alike = _alike.flatmap(lambda leaf: st.lists(st.just({"k": [leaf], "l": leaf}), min_size=4, max_size=6))
    return anything | documents | alike | st.lists(_nested(_alike, _few_keys), max_size=12)


def outcome(column: Column) -> dict[str, Any]:
    """Return all that a column says, in one form."""
    declared = (
        column.declared if isinstance(column.declared, list) else [column.declared] * len(column.values)
    )
    return {
        "sent": [None if value is msgspec.UNSET else ENCODER.encode(value) for value in column.values],
        "declared": [
            None
            if value is msgspec.UNSET or kind is None
            else dict(kind)
            if isinstance(kind, tuple)
            else kind
            for value, kind in zip(column.values, declared, strict=True)
        ],
        "is_full": column.is_full,
        "refusals": column.refusals,
    }


@given(_columns(), st.sampled_from([datetime.UTC, ZONE]))
def test_a_column_is_its_values(values: list[Any], zone: datetime.tzinfo) -> None:
    at_once = property_column("p", values, zone)
    one_by_one = convert_column(values, lambda value: property_value("p", value, zone))
    assert outcome(at_once) == outcome(one_by_one)


@pytest.mark.parametrize(
    "value",
    [
        {"channel": "app", "tags": ["a", "b"], "items": 3, "paid": True, "total": Decimal("1.50")},
        {"inner": {"deeper": {"on": datetime.date(2026, 1, 2), "numbers": [1, 2]}}},
        [1, 2, 3],
        ("a", "b"),
        datetime.datetime(2026, 1, 2, 3, 4, tzinfo=ZONE),
        uuid.UUID(int=5),
        {},
        [],
    ],
)
def test_what_is_alike_is_not_looked_at_one_by_one(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outcome(convert_column([value] * 8, lambda one: property_value("p", one, ZONE)))

    def fail(*_: Any) -> None:
        raise AssertionError("A value was converted alone.")

    monkeypatch.setattr(columns, "convert_column", fail)
    assert outcome(property_column("p", [value] * 8, ZONE)) == expected


def test_deep_objects_do_not_exhaust_the_stack() -> None:
    deep: Any = 1
    for _ in range(99):
        deep = {"a": deep}
    column = property_column("p", [deep] * 8, ZONE)
    assert not column.refusals
    assert ENCODER.encode(column.values[7]) == ENCODER.encode(deep)
