"""Any value of a refused record becomes JSON, and is refused again as it is written."""

from __future__ import annotations

import collections
import dataclasses
import types
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.records.written_values import as_json
from tests.records.refusing import (
    BERLIN,
    ENDLESS,
    FIELDS,
    GOOD,
    HOSTILE,
    PLACES,
    TEXTS,
    TOO_LONG,
    Color,
    NumpyFloat,
    NumpyInt,
    Outer,
    RaisingEnum,
    RaisingText,
    check_json,
    check_refused_again,
    deep,
    itself,
    line_of,
    refused,
    send,
    within,
)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_value_that_cannot_be_sent_is_json_and_refused_again(value: Any, place: Any) -> None:
    invalid = refused(place(value))

    check_json(invalid)
    check_refused_again(invalid)


@pytest.mark.parametrize(
    "record",
    [
        *(GOOD | {"x": value} for value in ENDLESS.values()),
        *ENDLESS.values(),
        GOOD | {"properties": {"x": [1, ENDLESS["a ring"]], 5: 1}},
        GOOD | {"timestamp": ENDLESS["a list twice in itself"]},
        GOOD | {"context": ENDLESS["a dict twice in itself"]},
        GOOD | {"a-b": ENDLESS["a ring"]},
    ],
    ids=range(10),
)
def test_a_value_without_an_end_takes_no_time_and_is_refused_again(record: Any) -> None:
    [invalid] = send([record]).refused

    check_json(invalid)
    assert len(line_of(invalid)) < 50_000_000
    check_refused_again(invalid)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_field_that_cannot_be_sent_is_json_and_refused_again(value: Any, field: str) -> None:
    record = {"name": "A", field: value}
    sent = send([record], allow_anonymous=True)
    if isinstance(value, int) and value.bit_length() == 65 and field in TEXTS:
        # Text is made of whole numbers beyond 64 bits.
        assert not sent.refused
        return
    [invalid] = sent.refused

    check_json(invalid)
    # Refused as anonymous in any case, unless there is a user.
    invalid = dataclasses.replace(invalid, record={"user": {"uid": "u"}} | invalid.record)
    if not field.startswith(("user", "session")):
        check_refused_again(invalid)


@pytest.mark.parametrize(
    "key",
    [
        None,
        True,
        5,
        1.5,
        float("nan"),
        b"abc",
        (1, 2),
        Color.NOTHING,
        RaisingText(),
        Decimal("NaN"),
        uuid.UUID(int=10**38),
        "a\ud800",
        "a\ud800.b",
        "context.\udfff",
        "properties.\udfff",
        "",
        "a" * 100_000,
    ],
    ids=lambda key: type(key).__name__,
)
def test_a_key_that_goes_nowhere_is_json_and_refused_again(key: Any) -> None:
    invalid = refused(GOOD | {key: "value"})

    check_json(invalid)
    check_refused_again(invalid)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_record_is_json_and_refused_again(value: Any) -> None:
    if isinstance(value, dict):
        invalid = refused(value)
    else:
        invalid = refused(value)
        assert invalid.refusal.reason.startswith("a record must be an object")

    check_json(invalid)
    check_refused_again(invalid)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_plain_makes_json_of_all(value: Any) -> None:
    with within(TOO_LONG):
        ENCODER.encode(as_json(value))


KEYS: Any = st.one_of(
    st.sampled_from(["a", "b", "properties", "user", "uid", "$float"]),
    st.text(st.characters(), max_size=4),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(max_size=3),
    st.sampled_from([*Color, Outer.COLOR, (1, 2), Decimal(1), uuid.UUID(int=0), RaisingText()]),
)
SCALARS: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.decimals(),
    st.text(st.characters(), max_size=4),
    st.binary(max_size=4),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from(
        [*Color, *Outer, *RaisingEnum, RaisingText(), NumpyInt(), NumpyFloat("inf"), {1}, 10**4000]
    ),
    st.sampled_from([itself(list, twice=False), itself(dict, twice=False), deep(list, 300), deep(dict, 300)]),
)
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(types.MappingProxyType),
        st.dictionaries(KEYS, inner, max_size=3).map(collections.UserDict),
    ),
    max_leaves=6,
)
any_input = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
#: What is left of a value once it is plain JSON, with a type of its own where JSON has none.
names = st.sampled_from(
    ["x", "y", "x.y", "properties.x", "page_properties", "properties", "USER.UID", "user", "Name", *FIELDS]
)


@any_input
@given(VALUES)
def test_any_value_becomes_json(value: Any) -> None:
    with within(TOO_LONG):
        ENCODER.encode(as_json(value))


@any_input
@given(st.dictionaries(st.one_of(names, names, KEYS), VALUES, max_size=4), st.sampled_from([BERLIN, None]))
def test_any_refused_record_is_json_and_refused_again(record: Any, zone: Any) -> None:
    options = {} if zone is None else {"zone": zone}
    sent = send([{"name": "A", "user.uid": "u"} | record], **options)
    for invalid in sent.refused:
        check_json(invalid)
        check_refused_again(invalid)


@any_input
@given(st.one_of(SCALARS, st.lists(VALUES, max_size=2)))
def test_anything_in_the_place_of_a_record_is_json_and_refused_again(value: Any) -> None:
    [invalid] = send([value]).refused
    check_json(invalid)
    check_refused_again(invalid)
