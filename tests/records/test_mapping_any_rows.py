"""Whatever rows come in: valid bodies, no record lost, equal bytes for equal records."""

from __future__ import annotations

import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.exceptions import FullStoryInputError
from tests.records.sending import Sent, send_records, send_rows, strict_json


class Color(enum.Enum):
    RED = "red"
    NUMBER = 7
    PAIR = (1, 2)


# Derandomized and without a database: the same examples on every machine.
any_input = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

FIELD_NAMES = [
    "name", "timestamp", "user.uid", "user.id", "session.id", "session.uid", "session.use_most_recent",
    "context.browser.url", "context.device.screen_width", "context.location.latitude", "user", "session",
    "context", "context.device", "properties", "page_properties", "schema", "page_properties_schema",
    "properties.a", "properties.a.b", "USER.UID", "Name",
]  # fmt: skip
# Each text has lone surrogates and all else that a str can hold.
texts = st.text(st.characters(), max_size=12)
keys = st.one_of(
    st.sampled_from(["a", "b", "a.b", "uid", "id", "browser", "url", "", "_", "é", "a b", "x" * 513]),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True),
    texts,
)
numbers = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.decimals(),
    st.sampled_from([Decimal("sNaN"), Decimal("1E+1000000"), Decimal("1E-999999"), 10**400, Decimal("-0")]),
)
times = st.one_of(
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
scalars = st.one_of(
    st.none(), st.booleans(), numbers, texts, times, st.uuids(), st.binary(max_size=4),
    st.sampled_from([*Color, object(), {1}, 1j]),
    st.sampled_from(["2026-01-01", "int", "null", "{}", '{"uid": "u"}', "[" * 5000]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.integers(), inner, max_size=1),
        st.tuples(inner),
    ),
    max_leaves=8,
)
columns = st.one_of(st.sampled_from(FIELD_NAMES), keys)
records = st.one_of(
    st.dictionaries(columns, values, max_size=5),
    st.dictionaries(columns, scalars, max_size=5),
    scalars,
)
limits = st.builds(BatchLimits, records=st.integers(1, 6), bytes=st.integers(60, 2000))


def check(sent: Sent, count: int, limit: BatchLimits) -> None:
    """Check that bodies are valid, within the limits, and account for each record once."""
    seen: list[int] = [invalid.position for invalid in sent.refused]
    assert all(invalid.refusal.reason and invalid.refusal.code for invalid in sent.refused)
    assert [batch.ordinal for batch in sent.batches] == list(range(1, len(sent.batches) + 1))
    assert len({batch.idempotency_key for batch in sent.batches}) == len(sent.batches)
    for batch in sent.batches:
        requests = strict_json(bytes(batch.body))["requests"]
        assert 1 <= len(requests) == batch.records <= limit.records
        assert len(bytes(batch.body)) <= limit.bytes
        assert all(event["name"] for event in requests)
        seen += [int(event["page_properties"]["index"]) for event in requests]
    assert sorted(seen) == list(range(1, count + 1))


def indexed(found: list[Any]) -> list[Any]:
    """Give each record its own place to carry, so that it is known again in a body."""
    return [
        {"page_properties.index": str(number)}
        | {key: value for key, value in record.items() if key.casefold() not in ("page_properties", "")}
        if isinstance(record, dict)
        else record
        for number, record in enumerate(found, start=1)
    ]


@any_input
@given(st.lists(records, max_size=12), limits, st.booleans())
@example([{"x": Decimal("1E+1000000")}], BatchLimits(1, 2000), True)
def test_every_record_is_in_one_valid_batch_or_refused(
    found: list[Any], limit: BatchLimits, anonymous: bool
) -> None:
    found = indexed(found)

    check(send_records(found, limit, allow_anonymous=anonymous), len(found), limit)


@any_input
@given(st.data(), st.lists(columns, max_size=5), limits)
def test_every_row_is_in_one_valid_batch_or_all_columns_are_refused(
    data: st.DataObject, names: list[str], limit: BatchLimits
) -> None:
    rows = [
        (str(number), *row)
        for number, row in enumerate(
            data.draw(st.lists(st.tuples(*[values] * len(names)), max_size=8)), start=1
        )
    ]

    try:
        sent = send_rows(["page_properties.index", *names], rows, limit)
    except FullStoryInputError as error:
        assert str(error)  # noqa: PT017 - Either outcome is right.
    else:
        check(sent, len(rows), limit)


@any_input
@given(st.data(), st.lists(columns, max_size=5), st.integers(1, 5))
def test_rows_and_records_of_the_same_data_give_the_same_bytes_and_refusals(
    data: st.DataObject, names: list[str], chunk_rows: int
) -> None:
    rows = data.draw(st.lists(st.tuples(*[values] * len(names)), max_size=8))

    try:
        of_rows = send_rows(names, rows)
    except FullStoryInputError:
        return
    of_records = send_records(dict(zip(names, row, strict=True)) for row in rows)

    assert of_rows == of_records
    assert send_rows(names, rows, chunk_rows=chunk_rows) == of_rows


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(item) for key, item in reversed(value.items())}
    if isinstance(value, (list, tuple)):
        return type(value)(map(reversed_keys, value))
    return value


@any_input
@given(st.lists(records, max_size=8))
def test_the_order_of_keys_changes_no_byte(found: list[Any]) -> None:
    one, other = send_records(found), send_records(map(reversed_keys, found))

    assert one.batches == other.batches
    # Of several things wrong with a record, which one is named may follow its order.
    assert [invalid.position for invalid in one.refused] == [invalid.position for invalid in other.refused]


@any_input
@given(st.dictionaries(columns, scalars, max_size=4))
def test_a_record_that_is_sent_alone_is_sent_among_others_with_the_same_bytes(record: Any) -> None:
    alone = send_records([record])
    among = send_records([record, {"other": 1}, record, 5, record])

    if alone.refused:
        assert [invalid.position for invalid in among.refused] == [1, 3, 4, 5]
    else:
        [event] = alone.bodies
        inner = event.removeprefix(b'{"requests":[').removesuffix(b"]}")
        assert among.bodies[0].count(inner) >= 3


def test_bytes_are_those_that_were_decided() -> None:
    # A change here makes a retry after an upgrade of the package another import.
    [body] = send_records(
        [
            {
                "user.uid": "u",
                "timestamp": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
                "b": 0.1,
                "a": 1,
                "id": uuid.UUID(int=1),
            }
        ]
    ).bodies

    assert body == (
        b'{"requests":[{"name":"Odd","timestamp":"2026-01-01T00:00:00Z","user":{"uid":"u"},"properties":'
        b'{"a":1,"b":0.1,"id":"00000000-0000-0000-0000-000000000001"},"schema":{"properties":{"a":"int"}}}]}'
    )


@pytest.mark.parametrize("count", [499, 500, 501, 1000])
def test_chunks_of_records_lose_nothing_at_their_borders(count: int) -> None:
    sent = send_records({"index": number} for number in range(count))

    assert [event["properties"]["index"] for event in sent.events] == list(range(count))
