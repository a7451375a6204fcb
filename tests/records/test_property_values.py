"""Each odd value has one decided outcome as a property."""

# ruff: noqa: DTZ001 - Datetimes without an offset are among what is tested.

from __future__ import annotations

import collections
import datetime
import enum
import types
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any, NamedTuple, Self

import pendulum
import pytest

from tests.records.sending import send_records, send_rows, send_value

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


class Color(enum.Enum):
    RED = "red"
    NUMBER = 7
    NOT_A_NUMBER = float("nan")
    NOTHING = None
    PAIR = (1, 2)
    OBJECT = {"a": 1}  # noqa: RUF012 - The value of a member, not a default.


class Level(enum.IntEnum):
    HIGH = 3


class Flavor(enum.StrEnum):
    SWEET = "sweet"


class OldFlavor(str, enum.Enum):  # noqa: UP042 - What code written before Python 3.11 has.
    SOUR = "sour"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class DriverText(str):
    __slots__ = ()


class DriverFloat(float):
    """Like numpy's float64, which is a float."""


class DriverDecimal(Decimal):
    pass


class DriverDate(datetime.date):
    pass


class DriverDatetime(datetime.datetime):
    """Like pandas' Timestamp."""


class NotATime(datetime.datetime):
    """Like pandas' NaT: a datetime whose parts are NaN."""

    year = month = day = hour = minute = second = microsecond = float("nan")  # type: ignore[assignment]

    def replace(self, **_: Any) -> NotATime:  # type: ignore[override]
        return self

    def astimezone(self, _: datetime.tzinfo | None = None) -> NotATime:  # type: ignore[override]
        return self


class DriverInteger(int):
    """Like an Int64 of a document database; complains where its check would take 2**64 steps."""

    def __new__(cls, value: int) -> Self:
        integer = super().__new__(cls, value)
        integer.comparisons = 0
        return integer

    comparisons: int

    def __eq__(self, other: object) -> bool:
        self.comparisons += 1
        assert self.comparisons < 100, "compared with one integer after the other"
        return int(self) == other

    def __hash__(self) -> int:
        return hash(int(self))


class ArrayScalar:
    """Like numpy's int64: behaves as a number, but is none of Python's."""

    def __int__(self) -> int:
        return 5

    __index__ = __int__

    def __float__(self) -> float:
        return 5.0

    def item(self) -> int:
        return 5


class Point(NamedTuple):
    x: int
    y: int


SENT = [
    pytest.param("text", "text", None, id="text"),
    pytest.param("", "", None, id="empty text stays"),
    pytest.param(" \t\n\0\u2028\U0001f600é", " \t\n\0\u2028\U0001f600é", None, id="control characters"),
    pytest.param("NaN", "NaN", None, id="text that looks like NaN"),
    pytest.param(DriverText("text"), "text", None, id="subclass of str"),
    pytest.param(True, True, None, id="true is no integer"),
    pytest.param(False, False, None, id="false is no NULL"),
    pytest.param(0, 0, "int", id="zero"),
    pytest.param(2**63 - 1, 2**63 - 1, "int", id="largest integer"),
    pytest.param(-(2**63), -(2**63), "int", id="smallest integer"),
    pytest.param(1.0, Decimal("1.0"), None, id="whole float stays real"),
    pytest.param(-0.0, Decimal("-0.0"), None, id="negative zero"),
    pytest.param(5e-324, Decimal("5E-324"), None, id="smallest float"),
    pytest.param(1.7976931348623157e308, Decimal("1.7976931348623157E+308"), None, id="largest float"),
    pytest.param(DriverFloat(1.5), Decimal("1.5"), None, id="subclass of float"),
    pytest.param(Decimal("1.10"), Decimal("1.10"), None, id="Decimal keeps its zero"),
    pytest.param(
        Decimal("12345678901234567890.12345678901234567890"),
        Decimal("12345678901234567890.12345678901234567890"),
        None,
        id="Decimal keeps all digits",
    ),
    pytest.param(Decimal("1E+5"), Decimal("1E+5"), None, id="Decimal with an exponent"),
    pytest.param(
        Decimal("-1.7976931348623157e308"), Decimal("-1.7976931348623157e308"), None, id="low Decimal"
    ),
    pytest.param(DriverDecimal("1.5"), Decimal("1.5"), None, id="subclass of Decimal"),
    pytest.param(datetime.date(2026, 3, 29), "2026-03-29", "date", id="date"),
    pytest.param(datetime.date(1, 1, 1), "0001-01-01", "date", id="first date"),
    pytest.param(datetime.date(9999, 12, 31), "9999-12-31", "date", id="last date"),
    pytest.param(DriverDate(2026, 3, 29), "2026-03-29", "date", id="subclass of date"),
    pytest.param(pendulum.date(2026, 3, 29), "2026-03-29", "date", id="pendulum Date"),
    pytest.param(datetime.time(9, 30), "09:30:00", None, id="time"),
    pytest.param(datetime.time(9, 30, 0, 5, datetime.UTC), "09:30:00.000005+00:00", None, id="aware time"),
    pytest.param(pendulum.time(9, 30), "09:30:00", None, id="pendulum Time"),
    pytest.param(datetime.timedelta(days=-1, microseconds=1), Decimal("-86399.999999"), None, id="timedelta"),
    pytest.param(pendulum.duration(minutes=1), Decimal("60.0"), None, id="pendulum Duration"),
    pytest.param(uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", None, id="UUID"),
    pytest.param(Color.RED, "red", None, id="Enum of text"),
    pytest.param(Color.NUMBER, 7, "int", id="Enum of an integer"),
    pytest.param(Color.PAIR, [1, 2], "ints", id="Enum of a tuple"),
    pytest.param(Level.HIGH, 3, "int", id="IntEnum"),
    pytest.param(Flavor.SWEET, "sweet", None, id="StrEnum"),
    pytest.param(OldFlavor.SOUR, "sour", None, id="str and Enum"),
    pytest.param(Permission.READ | Permission.WRITE, 3, "int", id="Flag"),
    pytest.param([], [], None, id="empty array"),
    pytest.param([None, None], [], None, id="array of nothing but NULL"),
    pytest.param([1, None, 2], [1, 2], "ints", id="NULL in an array"),
    pytest.param((1, 2), [1, 2], "ints", id="tuple"),
    pytest.param(Point(1, 2), [1, 2], "ints", id="named tuple"),
    pytest.param([1, 2.5], [1, Decimal("2.5")], None, id="array of integers and reals"),
    pytest.param([True, False], [True, False], None, id="array of booleans"),
    pytest.param(["a", ""], ["a", ""], None, id="array of text"),
    pytest.param([datetime.date(2026, 1, 1)], ["2026-01-01"], "dates", id="array of dates"),
    pytest.param([Level.HIGH, 1], [3, 1], "ints", id="array of enumerations"),
    pytest.param({}, {}, None, id="empty object"),
    pytest.param(collections.OrderedDict(b="t", a="s"), {"a": "s", "b": "t"}, None, id="ordered object"),
    pytest.param(types.MappingProxyType({"a": "s"}), {"a": "s"}, None, id="mapping that is no dict"),
    pytest.param({"a": None, "b": "s"}, {"b": "s"}, None, id="NULL in an object"),
    pytest.param({"a": {"b": {"c": "s"}}}, {"a": {"b": {"c": "s"}}}, None, id="objects in objects"),
    pytest.param({"class": "s", "def": "t"}, {"class": "s", "def": "t"}, None, id="keywords as keys"),
]


@pytest.mark.parametrize(("value", "sent", "declared"), SENT)
def test_a_value_is_sent_as_one_decided_form(value: Any, sent: Any, declared: str | None) -> None:
    event = send_value(value).event

    assert event["properties"] == {"x": sent}
    # 1 == True == Decimal(1) in Python, but not in JSON.
    assert type(event["properties"]["x"]) is type(sent)
    assert event.get("schema") == (declared and {"properties": {"x": declared}})


@pytest.mark.parametrize(("value", "sent", "declared"), SENT)
def test_a_value_among_values_of_other_types_is_sent_the_same(
    value: Any, sent: Any, declared: str | None
) -> None:
    alone = send_value(value).events
    among = send_rows(["x"], [("text",), (value,), (None,), (1,), (Decimal("0.5"),)]).events

    assert among[1] == alone[0]


def test_none_is_left_out() -> None:
    assert send_value(None).event == {"name": "Odd"}


def test_none_beside_values_is_left_out_of_properties_and_schema() -> None:
    events = send_rows(["x", "y"], [(1, "a"), (None, "b")]).events

    assert events[1] == {"name": "Odd", "properties": {"y": "b"}}


def test_an_integer_subclass_is_sent_as_an_integer() -> None:
    assert send_value(DriverInteger(5)).event["properties"] == {"x": 5}


def test_an_enumeration_without_a_value_is_left_out() -> None:
    assert send_value(Color.NOTHING).event == {"name": "Odd"}


NAN = "is NaN, infinite or beyond 1.8e308"
REFUSED = [
    pytest.param(float("nan"), NAN, id="float NaN"),
    pytest.param(float("inf"), NAN, id="float infinity"),
    pytest.param(float("-inf"), NAN, id="negative float infinity"),
    pytest.param(DriverFloat("nan"), NAN, id="NaN of a float subclass"),
    pytest.param(Decimal("NaN"), NAN, id="Decimal NaN"),
    pytest.param(Decimal("-NaN123"), NAN, id="Decimal NaN with a payload"),
    pytest.param(Decimal("sNaN"), NAN, id="signaling Decimal NaN"),
    pytest.param(Decimal("Infinity"), NAN, id="Decimal infinity"),
    pytest.param(Decimal("-Infinity"), NAN, id="negative Decimal infinity"),
    pytest.param(Decimal("1.8e308"), NAN, id="Decimal beyond any float"),
    pytest.param(Decimal("1E+999999"), NAN, id="huge Decimal"),
    pytest.param(Decimal("1E+1000000"), NAN, id="Decimal beyond the limits of arithmetic"),
    pytest.param(Color.NOT_A_NUMBER, NAN, id="Enum of NaN"),
    pytest.param(2**63, "is an integer beyond 64 bits; send it as text", id="integer beyond 64 bits"),
    pytest.param(-(2**63) - 1, "is an integer beyond 64 bits", id="negative integer beyond 64 bits"),
    pytest.param(10**5000, "is an integer beyond 64 bits", id="integer too long for text"),
    pytest.param(b"bytes", "is of type bytes, which has no form in JSON", id="bytes"),
    pytest.param(bytearray(b"b"), "is of type bytearray, which", id="bytearray"),
    pytest.param(memoryview(b"b"), "is of type memoryview, which", id="memoryview"),
    pytest.param({1, 2}, "is of type set, which", id="set"),
    pytest.param(collections.deque([1]), "is of type deque, which", id="deque"),
    pytest.param(1j, "is of type complex, which", id="complex number"),
    pytest.param(object(), "is of type object, which", id="object"),
    pytest.param(int, "is of type type, which", id="class"),
    pytest.param(range(3), "is of type range, which", id="range"),
    pytest.param(ArrayScalar(), "is of type ArrayScalar, which has no form in JSON; convert it", id="scalar"),
    pytest.param([{"a": 1}], "is an array of objects, which FullStory does not take", id="array of objects"),
    pytest.param([None, [1]], "is an array of arrays, which FullStory does not take", id="array of arrays"),
    pytest.param([(1,)], "is an array of arrays, which", id="array of tuples"),
    pytest.param([Color.PAIR], "is an array of arrays, which", id="array of enumerated tuples"),
    pytest.param([Color.OBJECT], "is an array of objects, which", id="array of enumerated objects"),
    pytest.param([float("nan")], NAN, id="NaN in an array"),
    pytest.param([b"b"], "is of type bytes", id="bytes in an array"),
    pytest.param("\ud800", "holds half of a surrogate pair, which has no UTF-8 form", id="lone surrogate"),
    pytest.param("a\udfffb", "holds half of a surrogate pair", id="lone low surrogate"),
    pytest.param("\ud83d\ude00", "holds half of a surrogate pair", id="pair that is two characters"),
    pytest.param(["\ud800"], "holds half of a surrogate pair", id="lone surrogate in an array"),
    pytest.param(DriverText("\ud800"), "holds half of a surrogate pair", id="surrogate in a str subclass"),
    pytest.param({1: "a"}, "has a key of type int, not text", id="key that is no text"),
    pytest.param({None: "a"}, "has a key of type NoneType", id="NULL as a key"),
    pytest.param({b"a": "a"}, "has a key of type bytes", id="bytes as a key"),
    pytest.param({"": "a"}, "property names start with a letter", id="empty key"),
    pytest.param({"1a": "a"}, "property names start with a letter", id="key that starts with a digit"),
    pytest.param({"a b": "a"}, "property names start with a letter", id="key with a space"),
    pytest.param({"a\n": "a"}, "property names start with a letter", id="key with a line break at its end"),
    pytest.param({"é": "a"}, "property names start with a letter", id="key beyond ASCII"),
    pytest.param({"٣": "a"}, "property names start with a letter", id="key of foreign digits"),
    pytest.param({"\ud800": "a"}, "property names start with a letter", id="lone surrogate in a key"),
    pytest.param(
        {"a": {"\ud800": "a"}}, "property names start with a letter", id="surrogate in a nested key"
    ),
    pytest.param({"a" * 511: "a"}, "property names have at most 512 characters", id="key too long"),
    pytest.param({"a": {"b": float("inf")}}, "property 'x.a.b' " + NAN, id="infinity deep inside"),
    pytest.param(
        {"a": [{"b": 1}]}, "property 'x.a' is an array of objects", id="array of objects deep inside"
    ),
    pytest.param(
        NotATime(2026, 1, 1), "is not a moment between the years 1 and 9999", id="pandas' Not a Time"
    ),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_a_value_without_a_form_is_refused_with_a_reason(value: Any, reason: str) -> None:
    sent = send_value(value)

    assert reason in sent.reason
    assert "property 'x" in sent.reason
    assert sent.code == "invalid_argument"


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_one_bad_value_spoils_no_other_row(value: Any, reason: str) -> None:
    sent = send_rows(["x"], [("good",), (value,), (None,), ("good",)])

    assert [event.get("properties") for event in sent.events] == [{"x": "good"}, None, {"x": "good"}]
    [invalid] = sent.refused
    assert invalid.position == 2
    assert reason in invalid.refusal.reason


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_a_nested_bad_value_is_refused_too(value: Any, reason: str) -> None:
    assert send_value({"inside": value}).refused


@pytest.mark.parametrize("secret", ["p4ssw0rd\ud800", 2**64 + 424242])
def test_a_reason_never_repeats_the_value(secret: Any) -> None:
    reason = send_value(secret).reason

    assert "p4ssw0rd" not in reason
    assert "424242" not in reason


def test_an_object_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless

    assert "objects are nested more than 100 deep" in send_value(endless).reason


def test_an_array_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    assert "array of arrays" in send_value(endless).reason


def test_the_deepest_object_that_is_allowed_is_sent() -> None:
    deep: Any = "s"
    for _ in range(100):
        deep = {"a": deep}

    assert send_value(deep).event["properties"]["x"]["a"]["a"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"b.c": 1, "b": {"c": 2}}, id="both spellings"),
        pytest.param({"b.c": 1}, id="dotted spelling"),
    ],
)
def test_a_key_with_a_dot_means_the_same_deep_inside_as_above(value: dict[str, Any]) -> None:
    # Above, properties.b.c is the property c of b, and both spellings together clash.
    above = send_records([{"properties": value}])
    inside = send_records([{"properties": {"x": value}}])

    assert len(inside.events) == len(above.events)
    if above.events:
        assert inside.event["properties"] == {"x": above.event["properties"]}


def test_a_key_that_is_an_enumeration_counts_as_its_value() -> None:
    assert send_value({OldFlavor.SOUR: "s"}).event["properties"] == {"x": {"sour": "s"}}


@pytest.mark.parametrize(
    "key",
    [pytest.param(OldFlavor.SOUR, id="enumeration"), pytest.param(DriverText("sour"), id="str subclass")],
)
def test_a_key_of_a_record_may_be_of_a_str_subclass(key: str) -> None:
    assert send_records([{key: "s"}]).event["properties"] == {"sour": "s"}
    assert send_records([{"properties": {key: "s"}}]).event["properties"] == {"sour": "s"}


MOMENTS = [
    pytest.param(datetime.datetime(2026, 7, 1, 12), "UTC", "2026-07-01T12:00:00Z", id="naive in UTC"),
    pytest.param(
        datetime.datetime(2026, 7, 1, 12), "Europe/Berlin", "2026-07-01T10:00:00Z", id="naive, summer"
    ),
    pytest.param(
        datetime.datetime(2026, 1, 1, 12), "Europe/Berlin", "2026-01-01T11:00:00Z", id="naive, winter"
    ),
    pytest.param(
        datetime.datetime(2026, 3, 29, 2, 30),
        "Europe/Berlin",
        "2026-03-29T01:30:00Z",
        id="hour that never was",
    ),
    pytest.param(
        datetime.datetime(2026, 10, 25, 2, 30),
        "Europe/Berlin",
        "2026-10-25T00:30:00Z",
        id="first of two hours",
    ),
    pytest.param(
        datetime.datetime(2026, 10, 25, 2, 30, fold=1),
        "Europe/Berlin",
        "2026-10-25T01:30:00Z",
        id="second of two hours",
    ),
    pytest.param(
        datetime.datetime(2026, 7, 1, 12, tzinfo=BERLIN), "UTC", "2026-07-01T10:00:00Z", id="aware in a zone"
    ),
    pytest.param(
        datetime.datetime(
            2026, 7, 1, 12, 0, 0, 1, datetime.timezone(datetime.timedelta(hours=-9, minutes=-30))
        ),
        "Europe/Berlin",
        "2026-07-01T21:30:00.000001Z",
        id="aware with microseconds",
    ),
    pytest.param(
        datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.timezone(datetime.timedelta(seconds=1))),
        "UTC",
        "2026-07-01T11:59:59Z",
        id="offset of a second",
    ),
    pytest.param(
        pendulum.datetime(2026, 7, 1, 12, tz="Europe/Berlin"), "UTC", "2026-07-01T10:00:00Z", id="pendulum"
    ),
    pytest.param(
        pendulum.naive(2026, 7, 1, 12), "Europe/Berlin", "2026-07-01T10:00:00Z", id="naive pendulum"
    ),
    pytest.param(DriverDatetime(2026, 7, 1, 12), "UTC", "2026-07-01T12:00:00Z", id="subclass"),
    pytest.param(datetime.datetime(1, 1, 1), "UTC", "0001-01-01T00:00:00Z", id="first moment"),
    pytest.param(
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
        "UTC",
        "9999-12-31T23:59:59.999999Z",
        id="last moment",
    ),
]


@pytest.mark.parametrize("make_zone", [zoneinfo.ZoneInfo, pendulum.timezone], ids=["zoneinfo", "pendulum"])
@pytest.mark.parametrize(("value", "zone", "sent"), MOMENTS)
def test_a_datetime_is_sent_in_utc(value: datetime.datetime, zone: str, sent: str, make_zone: Any) -> None:
    event = send_value(value, zone=make_zone(zone)).event

    assert event["properties"] == {"x": sent}
    assert event["schema"] == {"properties": {"x": "date"}}


@pytest.mark.parametrize("make_zone", [zoneinfo.ZoneInfo, pendulum.timezone], ids=["zoneinfo", "pendulum"])
@pytest.mark.parametrize(("value", "zone", "sent"), MOMENTS)
def test_the_timestamp_is_sent_in_utc(value: datetime.datetime, zone: str, sent: str, make_zone: Any) -> None:
    assert send_rows(["timestamp"], [(value,)], zone=make_zone(zone)).event["timestamp"] == sent


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        pytest.param(datetime.datetime(1, 1, 1), "Asia/Tokyo", id="before the year 1"),
        pytest.param(datetime.datetime(9999, 12, 31, 23), "America/New_York", id="after the year 9999"),
    ],
)
def test_a_moment_outside_the_calendar_is_refused(value: datetime.datetime, zone: str) -> None:
    reason = send_value(value, zone=zoneinfo.ZoneInfo(zone)).reason

    assert reason == "property 'x' is not a moment between the years 1 and 9999"


def test_equal_moments_in_different_zones_give_equal_bytes() -> None:
    moment = datetime.datetime(2026, 7, 1, 12, tzinfo=BERLIN)

    assert send_value(moment).bodies == send_value(moment.astimezone(datetime.UTC)).bodies
