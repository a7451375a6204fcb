"""The watermark is found among the parameters, and its value takes its place."""

from __future__ import annotations

import collections
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.parameters import watermark_in, with_value
from airflow_provider_fullstory.watermark import Watermark

SINCE = Watermark("updated_at", initial=0)
SAME = Watermark("updated_at", initial=0)


class Pair(NamedTuple):
    first: Any
    second: Any


@pytest.mark.parametrize(
    ("parameters", "with_seven"),
    [
        ({"since": SINCE, "region": "eu"}, {"since": 7, "region": "eu"}),
        ({"since": SINCE, "again": SAME}, {"since": 7, "again": 7}),
        ([1, SINCE, [2, {"a": 3}]], [1, 7, [2, {"a": 3}]]),
        ((SINCE, SAME), (7, 7)),
        (Pair(1, SINCE), Pair(1, 7)),
        (collections.OrderedDict(since=SINCE), collections.OrderedDict(since=7)),
        (MappingProxyType({"since": SINCE}), {"since": 7}),
    ],
)
def test_a_watermark_is_found_and_replaced_in_a_copy(parameters: Any, with_seven: Any) -> None:
    before = repr(parameters)
    assert watermark_in(parameters) == SINCE
    replaced = with_value(parameters, 7)
    assert replaced == with_seven
    assert type(replaced) is type(with_seven)
    assert repr(parameters) == before


@pytest.mark.parametrize("parameters", [None, {}, [], (), {"a": 1}, [1, "x", b"y"], "text"])
def test_there_need_not_be_one(parameters: Any) -> None:
    assert watermark_in(parameters) is None
    assert with_value(parameters, 7) == parameters


@pytest.mark.parametrize(
    "other",
    [
        Watermark("created_at", initial=0),
        Watermark("updated_at", initial=1),
        Watermark("updated_at", initial=0, lag=timedelta(1)),
    ],
)
def test_two_different_ones_are_refused(other: Watermark) -> None:
    with pytest.raises(FullStoryInputError, match=r"two watermarks, Watermark\('updated_at'.* one"):
        watermark_in({"a": SINCE, "b": 5, "c": other})


@pytest.mark.parametrize(
    "parameters",
    [{"a": [SINCE]}, [[SINCE]], [({"a": SINCE},)], {"a": {"b": [1, {"c": SINCE}]}}, [{SINCE}], SINCE],
)
def test_one_that_no_driver_would_find_is_refused(parameters: Any) -> None:
    with pytest.raises(FullStoryInputError, match=r"inside the value|put it into a dict or a list"):
        watermark_in(parameters)
