"""Whatever a refused record was: its draft is JSON, keeps what was there, and is refused again as it is."""

# ruff: noqa: DTZ001, DTZ901 - Datetimes without an offset are among what is tested.

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import signal
import types
import uuid
import zoneinfo
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records, map_rows, shared_part
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.redaction import redacted
from airflow_provider_fullstory.records.refused_records import REFUSAL, record_of_line
from airflow_provider_fullstory.records.written_values import as_json
from airflow_provider_fullstory.sources.iterables import records_of
from tests.records.sending import Sent, batched

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from airflow_provider_fullstory.records.refusals import InvalidRecord

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
GOOD = {"name": "A", "user.uid": "u"}
TOO_LONG = 5.0


class TakesTooLongError(BaseException):
    """What nothing under test catches."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where something takes longer, however deep in Python it is."""

    def fail(*_: object) -> NoReturn:
        raise TakesTooLongError

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TakesTooLongError:
        raise AssertionError(f"It takes longer than {seconds} s.") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def send(records: Sequence[Any], **options: Any) -> Sent:
    made = MappingOptions(EVENTS, **options)
    with within(TOO_LONG):
        return batched(map_records(records, made), made)


def send_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], **options: Any) -> Sent:
    made = MappingOptions(EVENTS, **options)
    return batched(map_rows(columns, [rows], made), made)


def refused(record: Any, **options: Any) -> InvalidRecord:
    """Return the record's refusal, after its neighbours went through."""
    # Where mapping names a key for it, a record without a timestamp is refused.
    good = GOOD | {"timestamp": "2026-07-01T12:00:00Z"}
    sent = send([good, record, good], **options)
    assert len(sent.events) == 2
    [invalid] = sent.refused
    assert invalid.position == 2
    return invalid


def line_of(invalid: InvalidRecord) -> bytes:
    """Return the line of the file, as it is written there."""
    refusal = {"outcome": "invalid", "code": invalid.refusal.code, "message": invalid.refusal.reason}
    return ENCODER.encode({EVENTS.noun: invalid.record, REFUSAL: refusal})


def draft_of(record: Any, **options: Any) -> Any:
    return record_of_line(EVENTS, DECODER.decode(line_of(refused(record, **options))))


def again(invalid: InvalidRecord, **options: Any) -> Sent:
    """Send the draft as it stands, with none of the options that the record came with."""
    return send([record_of_line(EVENTS, DECODER.decode(line_of(invalid)))], **options)


# Any value is JSON ----------------------------------------------------------------------------------------


class RaisingText:
    def __str__(self) -> str:
        raise ValueError("no text")

    def __repr__(self) -> str:
        return "RaisingText()"


class NumpyInt:
    """Like numpy's int64: no int, but one to all who ask."""

    def __int__(self) -> int:
        return 5

    __index__ = __int__

    def item(self) -> int:
        return 5


class NumpyFloat(float):
    """Like numpy's float64."""


class Text(str):
    __slots__ = ()


class Color(enum.Enum):
    RED = "red"
    NOTHING = None
    NAN = float("nan")
    RAW = b"raw"


class Outer(enum.Enum):
    COLOR = Color.RED
    NOTHING = Color.NOTHING


class RaisingEnum(enum.Enum):
    BAD = RaisingText()


def itself(kind: type, *, twice: bool) -> Any:
    """Return a list or dict that contains itself."""
    value = kind()
    if isinstance(value, list):
        value.extend([value] * (1 + twice))
    else:
        value.update({"a": value} | ({"b": value} if twice else {}))
    return value


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def deep(kind: type, levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def ring() -> Any:
    """Return a dict and a list that contain each other, from several places."""
    one: dict[str, Any] = {}
    other = [one, one]
    one.update(a=other, b={"c": one, "d": other})
    return one


#: Values that no property takes.
HOSTILE = {
    "bytes": b"\xff\x00",
    "a memoryview": memoryview(b"abc"),
    "a released memoryview": released(),
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "a signaling NaN": Decimal("sNaN"),
    "a huge decimal": Decimal("1E+1000000"),
    "a set": {1, "a"},
    "an object": object(),
    "a complex number": 1j,
    "a type": int,
    "a generator": (n for n in [1]),
    "a huge integer": 10**10_000,
    "an integer beyond 64 bits": 2**64,
    "an object that cannot be printed": RaisingText(),
    "a list with one": [RaisingText()],
    "a numpy integer": NumpyInt(),
    "a numpy NaN": NumpyFloat("nan"),
    "half of a pair": "a\ud800",
    "half of a pair in other text": Text("a\udfff"),
    "an enum of bytes": Color.RAW,
    "an enum of NaN": Color.NAN,
    "an enum of what cannot be printed": RaisingEnum.BAD,
    "a list in itself": itself(list, twice=False),
    "a dict in itself": itself(dict, twice=False),
    "lists in lists": deep(list, 50_000),
    "dicts in dicts": deep(dict, 50_000),
    "lists in a list": [[1], [2]],
    "dicts in a list": [{"a": 1}],
    "kinds in a list": [1, "a", None],
    "a NaN in a list": [1.0, float("nan")],
    "a key that is None": {None: 1},
    "a key that is true": {True: 1},
    "a key that is bytes": {b"abc": 1},
    "a key that is NaN": {float("nan"): 1},
    "a key that is a number": {5: 1},
    "a key that is an enum of nothing": {Color.NOTHING: 1},
    "a key that cannot be printed": {RaisingText(): 1},
    "a key with half of a pair": {"a\ud800": 1},
    "a moment out of reach": datetime.datetime.min.replace(
        tzinfo=datetime.timezone(datetime.timedelta(hours=1))
    ),
}
#: Values whose form in JSON would be endless, and grows with each level.
ENDLESS = {
    "a list twice in itself": itself(list, twice=True),
    "a dict twice in itself": itself(dict, twice=True),
    "a ring": ring(),
}
PLACES = {
    "a property": lambda value: GOOD | {"x": value},
    "a page property": lambda value: GOOD | {"page_properties.x": value},
    "inside a property": lambda value: GOOD | {"x": {"y": value, "z": 1}},
    "inside properties": lambda value: GOOD | {"properties": {"x": value, "z": 1}},
}
FIELDS = [
    "name", "timestamp", "user.uid", "session.id", "session.use_most_recent", "context.device.screen_width",
    "context.location.latitude", "context.browser.url", "user", "session", "context", "context.location",
    "schema", "page_properties_schema", "properties",
]  # fmt: skip

TEXTS = ("name", "user.uid", "context.browser.url")


def check_json(invalid: InvalidRecord) -> None:
    """Hold a refusal to what is done with it: written to a file, decoded, shown in the log."""
    line = line_of(invalid)
    assert b"\n" not in line
    decoded = DECODER.decode(line)
    assert ENCODER.encode(record_of_line(EVENTS, decoded)) == ENCODER.encode(invalid.record)
    assert ENCODER.encode(redacted(EVENTS, invalid.record))
    str(invalid).encode()


def check_refused_again(invalid: InvalidRecord) -> None:
    for _ in range(2):
        sent = again(invalid)
        assert not sent.events, f"accepted: {sent.bodies}"
        [invalid] = sent.refused


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


# In a file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_drafts_are_read_back_from_a_file_and_refused_again(tmp_path: Path, suffix: str) -> None:
    import gzip

    records = [place(value) for value in HOSTILE.values() for place in PLACES.values()]
    records = [record for record in records if not _is_known_to_change(record)]
    invalid = send(records).refused
    assert [one.position for one in invalid] == list(range(1, len(records) + 1))
    content = b"".join(line_of(one) + b"\n" for one in invalid)
    file = tmp_path / f"refused.{suffix}"
    file.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)

    sent = send(list(records_of(f"file://{file}")))

    assert sent.events == []
    assert len(sent.refused) == len(records)


def _is_known_to_change(record: Any) -> bool:
    """Leave out what has tests of its own above."""
    try:
        return not again(send([record]).refused[0]).refused
    except (AssertionError, msgspec.MsgspecError, TypeError, ValueError):
        return True


def test_a_record_with_the_keys_of_a_line_is_not_taken_for_one() -> None:
    record = {"event": "clicked", "refusal": "x"}
    assert record_of_line(EVENTS, record) is record


# What the log shows of them -------------------------------------------------------------------------------


@pytest.mark.parametrize("shows_values", [True, False])
@pytest.mark.parametrize(
    "key", [None, True, "a\ud800", "a\ud800.b", RaisingText(), b"abc"], ids=lambda key: type(key).__name__
)
def test_the_log_shows_drafts_whatever_their_keys(key: Any, shows_values: bool, caplog: Any) -> None:
    refusal_log = RefusalLog(
        EVENTS, {"user.uid": ("user", "uid")}, shows_records=True, shows_values=shows_values
    )

    refusal_log.invalid([refused(GOOD | {key: "secret"})])

    caplog.text.encode()
    assert ("secret" in caplog.text) == shows_values


# What was converted ---------------------------------------------------------------------------------------


def test_a_draft_has_what_would_have_been_sent() -> None:
    columns = ["customer", "ordered_at", "total", "at", "day", "ids", "missing"]
    row = (
        7,
        datetime.datetime(2026, 7, 1, 12),
        Decimal("5.50"),
        datetime.datetime(2026, 1, 1, 12),
        datetime.date(2026, 1, 2),
        [1, 2],
        None,
    )
    mapping = {"user.uid": "customer", "timestamp": "ordered_at", "page_properties.at": "at"}

    [invalid] = send_rows(
        columns, [row], mapping=mapping, zone=BERLIN, schema={"total": "real", "day": "date"}
    ).refused

    assert invalid.refusal.code == "required_field"
    assert DECODER.decode(ENCODER.encode(invalid.record)) == {
        "timestamp": "2026-07-01T10:00:00Z",
        "user": {"uid": "7"},
        "properties": {"total": Decimal("5.50"), "day": "2026-01-02", "ids": [1, 2]},
        "schema": {"properties": {"total": "real", "day": "date", "ids": "ints"}},
        "page_properties": {"at": "2026-01-01T11:00:00Z"},
        "page_properties_schema": {"properties": {"at": "date"}},
    }


def test_a_draft_of_a_record_with_a_mapping_needs_none() -> None:
    record = {"Customer": 7, "when": "2026-07-01T12:00:00", "x": float("nan")}
    mapping = {"user.uid": "customer", "timestamp": "when", "name": "x", "properties.kept": "when"}

    draft = draft_of(record, mapping=mapping, zone=BERLIN)

    assert draft == {
        "name": {"$float": "nan"},
        "timestamp": "2026-07-01T10:00:00Z",
        "user": {"uid": "7"},
        "properties": {"kept": "2026-07-01T12:00:00"},
    }


def mended(draft: Any, path: str, value: Any) -> Any:
    """Return a draft with one value put right, as a person would do it."""
    *parents, last = path.split(".")
    target = draft
    for part in parents:
        target = target.setdefault(part, {})
    target[last] = value
    return draft


def check_mended(record: Any, path: str, value: Any, right: Any, **options: Any) -> None:
    """A mended draft sends what the record would have sent, had it been right."""
    draft = mended(draft_of(record, **options), path, value)
    assert send([draft]).event == send([right], **options).event


WHOLE = {
    "at": datetime.datetime(2026, 7, 1, 12),
    "day": datetime.date(2026, 1, 1),
    "days": [datetime.date(2026, 1, 1)],
    "number": 5,
    "share": 0.5,
    "text": "t",
    "flag": True,
    "id": uuid.UUID(int=5),
    "took": datetime.timedelta(seconds=5),
    "time": datetime.time(12),
    "amount": Decimal("5.50"),
    "object": {"at": datetime.datetime(2026, 7, 1, 12), "number": 7},
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("root", ["properties", "page_properties"])
def test_a_mended_record_sends_its_other_values_as_they_were(name: str, root: str) -> None:
    record = {"user.uid": "u", f"{root}.{name}": WHOLE[name]}

    check_mended(record, "name", "A", record | {"name": "A"}, zone=BERLIN)


@pytest.mark.parametrize("amount", [Decimal(5), Decimal(100), Decimal("1E+2"), Decimal("-0")])
def test_a_mended_record_sends_whole_decimals_as_the_reals_that_they_were(amount: Decimal) -> None:
    # NUMERIC columns and sums of integers come as such, and FullStory takes them for reals.
    record = {"user.uid": "u", "amount": amount}

    event = send([mended(draft_of(record), "name", "A")]).event
    types = event.pop("schema", {}).get("properties", {})
    assert event == send([record | {"name": "A"}]).event
    assert types.get("amount", "real") == "real"


def test_a_mended_record_keeps_the_declared_type_of_the_value_that_was_refused() -> None:
    record = GOOD | {"amount": float("nan")}

    check_mended(record, "properties.amount", 5, GOOD | {"amount": 5}, schema={"amount": "real"})


def test_a_mended_record_keeps_the_types_beside_the_value_that_was_refused() -> None:
    inside = {"at": datetime.datetime(2026, 7, 1, 12), "bad": b"x"}
    right = GOOD | {"x": inside | {"bad": "y"}}

    check_mended(GOOD | {"x": inside}, "properties.x.bad", "y", right, zone=BERLIN)


def test_a_mended_record_keeps_the_declared_types_beside_the_value_that_was_refused() -> None:
    right = GOOD | {"x": {"amount": 5, "bad": "y"}}

    check_mended(
        GOOD | {"x": {"amount": 5, "bad": b"x"}}, "properties.x.bad", "y", right, schema={"x.amount": "real"}
    )


# Nothing is lost ------------------------------------------------------------------------------------------


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


@pytest.mark.parametrize(
    "record",
    [
        {"user.uid": "keep1", "user": 5},
        {"user.uid": "keep1", "user": "keep2"},
        {"user": {"uid": "keep1"}, "USER.UID": "keep2"},
        {"properties": "keep1", "a": "keep2"},
        {"a": "keep2", "properties": {"b": "keep1", b"key": "keep3"}},
        {"properties": {"b": "keep1", None: "keep3"}, "properties.c": "keep2", "a": "keep4"},
        {"context.location.city": "keep1", "context": {"browser": "keep2"}},
        {"context": {"browser": 5, "location": {"city": "keep1"}}, "context.mobile.app_id": "keep2"},
        {"a": "keep1", "properties.a": "keep2"},
        {"properties.a": "keep1", "properties.a.b": "keep2"},
        {"properties.a": {"b": "keep1", "c": b""}, "properties.a.b": "keep2"},
        {"user": "keep1", "USER": "keep2"},
        {1: "keep1", "1": "keep2"},
        {"x": {1: "keep1", "1": "keep2"}},
        {"x": {b"a": "keep1", "YQ==": "keep2"}},
        {"schema": {"keep1": "keep2"}, "a": "keep3"},
        {"name": {"first": "keep1"}, "NAME": "keep2"},
        {"x": "keep1", "user.uuid": "keep2", "session.idd": "keep3"},
    ],
    ids=str,
)
def test_a_draft_has_every_value_of_its_record(record: dict[Any, Any]) -> None:
    [invalid] = send([{"name": "A"} | record], allow_anonymous=True).refused

    written = set(map(str, leaves(invalid.record)))
    kept = {text for text in map(str, leaves(record)) if text.startswith("keep")}
    assert kept <= written


@pytest.mark.parametrize(
    ("options", "record"),
    [
        ({"mapping": {"user.uid": "customer"}}, {"customer": "keep1", "user.uid": "keep2"}),
        ({"mapping": {"user.uid": "customer"}}, {"customer": 1.5, "user.uid": "keep2"}),
        ({"mapping": {"user": "customer"}}, {"customer": "keep1", "user.uid": "keep2"}),
        ({"mapping": {"properties.a": "b", "properties.c": "b"}}, {"b": "keep1", "a": "keep2"}),
    ],
)
def test_a_draft_has_every_value_that_a_mapping_moved(options: dict[str, Any], record: Any) -> None:
    [invalid] = send([{"name": "A"} | record], **options).refused

    written = set(map(str, leaves(invalid.record)))
    assert {text for text in map(str, record.values()) if text.startswith("keep")} <= written
    check_refused_again(invalid)


# Refused again though the options are gone ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "options"),
    [
        (GOOD | {"x": "a"}, {"schema": {"x": "int"}}),
        (GOOD | {"x": 5}, {"schema": {"x": "str"}}),
        (GOOD | {"x": 5.5}, {"schema": {"x": "int"}}),
        (GOOD | {"x": "yesterday"}, {"schema": {"x": "date"}}),
        (GOOD | {"x": {"y": [1.5]}}, {"schema": {"x.y": "ints"}}),
        (GOOD | {"x": Decimal(5)}, {"schema": {"x": "str"}}),
        (GOOD | {"x": 5, "schema": {"properties": {"x": "str"}}}, {"schema": {"x": "int"}}),
        (GOOD | {"x": uuid.UUID(int=1)}, {"schema": {"x": "date"}}),
        (GOOD | {"x": datetime.timedelta(seconds=5)}, {"schema": {"x": "str"}}),
        ({"name": "A", "x": 1}, {}),
        ({"user.uid": "u"}, {}),
        ({"name": None, "user.uid": "u"}, {}),
        ({"name": "A", "user.uid": "u", "user.id": "1"}, {}),
        ({"name": "A", "user.uid": "u", "session.id": "1:2"}, {}),
        ({"name": "A", "session.use_most_recent": 1}, {}),
        ({"name": "A", "session.id": "1:2", "session.use_most_recent": True}, {}),
        (GOOD | {"timestamp": "0001-01-01T00:00:00"}, {"zone": BERLIN}),
        (GOOD | {"timestamp": datetime.datetime.min}, {"zone": BERLIN}),
        (GOOD | {"timestamp": datetime.date.min}, {"zone": BERLIN}),
        (GOOD | {"x": datetime.datetime.min}, {"zone": BERLIN}),
        (GOOD | {"context.browser.url": datetime.date(2026, 1, 1)}, {}),
        (GOOD | {"context.browser.url": 5.0}, {}),
        (GOOD | {"context.browser.url": Decimal("5.5")}, {}),
        (GOOD | {"context.location.latitude": Decimal(91)}, {}),
        (GOOD | {"context.device.screen_width": 5.5}, {}),
        (GOOD | {"session.use_most_recent": Decimal(1)}, {}),
        (GOOD | {"session.use_most_recent": 1.0}, {}),
        (GOOD | {"timestamp": datetime.time(12)}, {}),
        (GOOD | {"timestamp": Decimal(20260101)}, {}),
        ({"customer": 1.5, "name": "A"}, {"mapping": {"user.uid": "customer"}}),
        ({"customer": None, "name": "A"}, {"mapping": {"user.uid": "customer"}}),
        ({"kind": 7.5, "user.uid": "u"}, {"mapping": {"name": "kind"}}),
    ],
)
def test_a_draft_is_refused_again_without_the_options(record: Any, options: dict[str, Any]) -> None:
    invalid = refused(record, **options) if "mapping" not in options else send([record], **options).refused[0]

    check_json(invalid)
    check_refused_again(invalid)


def test_a_draft_that_only_an_option_refused_may_be_accepted_as_it_was() -> None:
    shared = shared_part({"user": {"uid": "shared"}}, MappingOptions(EVENTS))
    [of_shared] = send([GOOD], shared=shared).refused
    [of_name] = send([GOOD], event_name="B").refused

    for invalid in (of_shared, of_name):
        assert again(invalid).events in ([], [{"name": "A", "user": {"uid": "u"}}])


def test_a_draft_of_rows_has_all_values_of_a_row_with_objects() -> None:
    [invalid] = send_rows(
        ["name", "user", "properties", "n"], [("A", '{"uid": 5.5}', '{"a": 1, "at": "x"}', 7)]
    ).refused

    assert DECODER.decode(ENCODER.encode(invalid.record)) == {
        "name": "A",
        "user": {"uid": {"$Decimal": "5.5"}},
        "properties": {"a": 1, "at": "x", "n": 7},
        "schema": {"properties": {"a": "int", "n": "int"}},
    }


def test_a_redacted_record_keeps_its_types_and_no_value() -> None:
    record = {
        "name": "secret",
        "properties": {"total": Decimal("1.5"), "tags": ["secret"], "none": None},
        "schema": {"properties": {"total": "real", "odd": "secret"}},
    }
    assert redacted(EVENTS, record) == {
        "name": "<str>",
        "properties": {"total": "<real>", "tags": ["<str>"], "none": "<null>"},
        "schema": {"properties": {"total": "real", "odd": "<str>"}},
    }
