"""FullStory, as the emulator has it, takes every record that the rules let through, whatever it is like."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.mapping import shared_part
from tests.records.sending import make_options, rejected_by_the_emulator, send_records

BERLIN = datetime.timezone(datetime.timedelta(hours=1))

ODD_TEXTS = st.one_of(
    st.sampled_from(["", " ", "a", "a:b", "DE", "\x00", "é" * 256, "x" * 257, "1", "2026-01-01", "null"]),
    st.text(max_size=8),
)
ODD_NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65),
    st.integers(-200, 200),
    st.floats(),
    st.decimals(),
    st.sampled_from(
        [
            Decimal("90.0"),
            Decimal(-180),
            Decimal("1E+3"),
            Decimal("1E-400"),
            Decimal("-0"),
            2**31,
            2**31 - 1,
            Decimal(2**70),
            Decimal("5.00"),
        ]
    ),
)
ODD_TIMES = st.one_of(
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.sampled_from(
        [
            "2026-01-01",
            "20260101",
            "2026-W01-1",
            "2026-01-01T24:00",
            "2026-01-01T00:00:00.123456789Z",
            "00:00",
        ]
    ),
)
ODD_NAMES = st.one_of(
    st.sampled_from(["a", "b", "a.b", "a.c", "a.b.c", "A", "x" * 512, "x" * 511, "name", "a__b", "", "a."]),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,4}", fullmatch=True),
)
ODD_SCALARS = st.one_of(
    st.none(), st.booleans(), ODD_NUMBERS, ODD_TEXTS, ODD_TIMES, st.uuids(), st.binary(max_size=2)
)
ODD_VALUES = st.recursive(
    ODD_SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ODD_NAMES, inner, max_size=3)),
    max_leaves=5,
)
TYPES = st.sampled_from(["str", "strs", "int", "ints", "real", "reals", "bool", "bools", "date", "dates"])
DECLARED = st.dictionaries(ODD_NAMES, TYPES, max_size=3)
SCHEMAS = st.one_of(
    st.builds(lambda types: {"properties": types}, DECLARED), st.just({}), st.just({"properties": None})
)
GOOD_NAMES = st.sampled_from(["a", "b", "c_1", "A", "name"])
MOSTLY_GOOD_VALUES = st.one_of(
    st.sampled_from(
        [
            "x",
            "2026-01-01",
            1,
            -1,
            2.5,
            True,
            [1, 2],
            ["x"],
            [True],
            [1, 2.5],
            [],
            {"b": 1},
            {"b": {"c": "x"}},
        ]
    ),
    st.lists(ODD_NUMBERS, max_size=3),
    st.lists(ODD_TIMES, max_size=2),
    ODD_VALUES,
)
PROPERTIES = st.one_of(
    st.dictionaries(GOOD_NAMES, MOSTLY_GOOD_VALUES, max_size=3),
    st.dictionaries(ODD_NAMES, MOSTLY_GOOD_VALUES, max_size=3),
)
# Each of these pairs is one way to say who it was, or one way too many.
USERS = st.sampled_from(
    [
        {"user.uid": "u"},
        {"user": {"id": 5}},
        {"user.uid": "u", "session.use_most_recent": True},
        {"user": {"uid": "u"}, "session": {"use_most_recent": False}},
        {"session.id": "1:2"},
        {"session": {"uid": "s"}},
        {"session": {"uid": "s", "use_most_recent": 0}},
        {"session.use_most_recent": 1},
        {"user.uid": "u", "session.id": "1:2"},
        {"user": {"uid": "u", "id": "1"}},
        {"user": {}, "session": {}},
        {"user": {"uid": None}},
        {},
    ]
)
FIELDS = {
    "timestamp": ODD_TIMES,
    "context.browser.url": ODD_TEXTS,
    "context.device.screen_width": ODD_NUMBERS,
    "context.device.viewport_height": ODD_NUMBERS,
    "context.location.country": ODD_TEXTS,
    "context.location.latitude": ODD_NUMBERS,
    "context.location.longitude": ODD_NUMBERS,
    "context.location.ip_address": ODD_TEXTS,
    "context": st.sampled_from([{}, None, {"mobile": {}}, {"mobile": {"app_id": 5}}]),
    "page_properties": PROPERTIES,
    "schema": SCHEMAS,
    "page_properties_schema": SCHEMAS,
}
NAMES = st.one_of(st.just("A"), st.just("A"), ODD_TEXTS)
RECORDS = st.builds(
    lambda name, user, properties, others: {"name": name, "properties": properties} | user | others,
    NAMES,
    USERS,
    PROPERTIES,
    st.lists(st.sampled_from(list(FIELDS)), max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
    ),
)
SHARED = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from([{"uid": "u"}, {"id": "1"}, {}, None]),
        "session": st.sampled_from([{"id": "1:2"}, {"uid": "s"}, {"use_most_recent": True}, {}]),
        "context": st.sampled_from([{"browser": {"url": "u"}}, {"location": {"latitude": 1.5}}, {}]),
        "page_properties": st.sampled_from([{}, {"a": 1}, {"a": datetime.date(2026, 1, 1)}, {"b": "x"}]),
        "page_properties_schema": st.sampled_from(
            [{"properties": {}}, {"properties": {"a": "int"}}, {"properties": {"a": "date"}}]
        ),
    },
)
odd_input = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@odd_input
@given(st.lists(RECORDS, min_size=1, max_size=4), st.booleans())
def test_the_emulator_takes_every_record_that_is_let_through(
    records: list[dict[str, Any]], anonymous: bool
) -> None:
    sent = send_records(records, allow_anonymous=anonymous, name=None)

    assert len(sent.events) + len(sent.refused) == len(records)
    assert rejected_by_the_emulator(sent) == []


@odd_input
@given(st.lists(RECORDS, min_size=1, max_size=4), DECLARED)
def test_the_emulator_takes_every_record_with_the_types_that_are_declared(
    records: list[dict[str, Any]], declared: dict[str, str]
) -> None:
    sent = send_records(records, schema=declared, name=None)

    assert rejected_by_the_emulator(sent) == []


@odd_input
@given(st.lists(RECORDS, min_size=1, max_size=3), SHARED)
def test_the_emulator_takes_every_record_beside_what_is_shared(
    records: list[dict[str, Any]], shared: dict[str, Any]
) -> None:
    try:
        part = shared_part(shared, make_options())
    except FullStoryInputError:
        return
    sent = send_records(records, shared=part, name=None)

    assert rejected_by_the_emulator(sent) == []


def test_types_told_from_values_do_not_clash_with_a_shared_schema() -> None:
    shared = shared_part({"page_properties_schema": {"properties": {"plan": "str"}}}, make_options())

    sent = send_records(
        [{"name": "A", "user.uid": "u", "page_properties.seats": 5}], shared=shared, name=None
    )

    assert rejected_by_the_emulator(sent) == []
