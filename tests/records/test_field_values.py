"""Each odd value has one decided outcome as a field of FullStory's."""

from __future__ import annotations

import datetime
import enum
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryMappingError
from tests.records.sending import send_field, send_records, send_rows

UID, WIDTH, LATITUDE = "user.uid", "context.device.screen_width", "context.location.latitude"
RECENT = "session.use_most_recent"


class Kind(enum.Enum):
    TEXT = "text"
    NUMBER = 5
    WEIGHT = 1.5
    YES = True


class Level(enum.IntEnum):
    HIGH = 3


class DriverFloat(float):
    """Like numpy's float64, which is a float."""


class DriverInteger(int):
    """Like an Int64 of a document database."""


class DriverDecimal(Decimal):
    pass


class ArrayScalar:
    """Like numpy's int64: behaves as a number, but is none of Python's."""

    def __int__(self) -> int:
        return 5

    __index__ = __int__


def leaf(event: dict[str, Any], path: str) -> Any:
    value: Any = event
    for part in path.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize(
    ("path", "value", "sent"),
    [
        pytest.param(UID, "u", "u", id="text id"),
        pytest.param(UID, 42, "42", id="integer id"),
        pytest.param(UID, 2**70, str(2**70), id="integer id beyond 64 bits"),
        pytest.param(UID, Decimal("42.00"), "42", id="whole Decimal id"),
        pytest.param(UID, Decimal("4.2E+3"), "4200", id="whole Decimal id with an exponent"),
        pytest.param(UID, uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", id="UUID as id"),
        pytest.param(UID, Kind.TEXT, "text", id="Enum as id"),
        pytest.param(UID, Level.HIGH, "3", id="IntEnum as id"),
        pytest.param(UID, "x" * 256, "x" * 256, id="longest id"),
        pytest.param(UID, "😀" * 256, "😀" * 256, id="longest id counts characters"),
        pytest.param("session.id", "1:2", "1:2", id="session id"),
        pytest.param("context.browser.url", "", "", id="empty text in the context stays"),
        pytest.param("context.location.ip_address", "::1", "::1", id="address"),
        pytest.param(WIDTH, 0, 0, id="no width"),
        pytest.param(WIDTH, 2**31 - 1, 2**31 - 1, id="largest width"),
        pytest.param(WIDTH, 1920.0, 1920, id="whole float as width"),
        pytest.param(WIDTH, Decimal("1920.0"), 1920, id="whole Decimal as width"),
        pytest.param(WIDTH, Level.HIGH, 3, id="IntEnum as width"),
        pytest.param(WIDTH, DriverInteger(5), 5, id="subclass of int as width"),
        pytest.param(LATITUDE, 52, 52, id="integer latitude"),
        pytest.param(LATITUDE, Decimal("52.520008"), Decimal("52.520008"), id="Decimal latitude"),
        pytest.param(LATITUDE, DriverFloat(52.5), Decimal("52.5"), id="subclass of float as latitude"),
        pytest.param(LATITUDE, DriverInteger(52), 52, id="subclass of int as latitude"),
        pytest.param(LATITUDE, DriverDecimal("52.5"), Decimal("52.5"), id="subclass of Decimal as latitude"),
        pytest.param("timestamp", "2026-07-01T12:00:00+02:00", "2026-07-01T10:00:00Z", id="ISO text"),
        pytest.param("timestamp", " 2026-07-01 12:00:00 ", "2026-07-01T12:00:00Z", id="ISO text, naive"),
        pytest.param("timestamp", "2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z", id="ISO text, Zulu"),
        pytest.param("timestamp", "2026-07-01", "2026-07-01T00:00:00Z", id="ISO text of a date"),
        pytest.param("timestamp", datetime.date(2026, 7, 1), "2026-07-01T00:00:00Z", id="date"),
    ],
)
def test_a_field_takes_what_means_the_same(path: str, value: Any, sent: Any) -> None:
    taken = leaf(send_field(path, value).event, path)

    assert taken == sent
    assert type(taken) is type(sent)


@pytest.mark.parametrize("value", [True, 1, DriverInteger(1)])
def test_use_most_recent_takes_one_for_true(value: Any) -> None:
    assert send_records([{UID: "u", RECENT: value}]).event["session"] == {"use_most_recent": True}


@pytest.mark.parametrize("value", [False, 0, None])
def test_use_most_recent_is_left_out_when_false(value: Any) -> None:
    assert "session" not in send_records([{UID: "u", RECENT: value}]).event


@pytest.mark.parametrize(
    ("path", "value", "code", "reason"),
    [
        pytest.param(UID, "", "invalid_parameter", "user.uid is empty", id="empty id"),
        pytest.param(UID, "x" * 257, "invalid_parameter", "longer than 256 characters", id="id too long"),
        pytest.param(
            UID, 10**5000, "invalid_parameter", "longer than 256 characters", id="endless integer id"
        ),
        pytest.param(
            UID,
            Decimal("1E+5000"),
            "invalid_parameter",
            "longer than 256 characters",
            id="endless Decimal id",
        ),
        pytest.param(UID, 5.0, "invalid_argument", "must be text, not float; cast it", id="float as id"),
        pytest.param(UID, Decimal("5.5"), "invalid_argument", "must be text, not Decimal", id="broken id"),
        pytest.param(UID, Decimal("NaN"), "invalid_argument", "must be text, not Decimal", id="NaN as id"),
        pytest.param(UID, Decimal("sNaN"), "invalid_argument", "must be text, not Decimal", id="sNaN as id"),
        pytest.param(UID, True, "invalid_argument", "must be text, not bool", id="bool as id"),
        pytest.param(UID, Kind.YES, "invalid_argument", "must be text, not bool", id="Enum of a bool as id"),
        pytest.param(UID, b"u", "invalid_argument", "must be text, not bytes", id="bytes as id"),
        pytest.param(UID, ["u"], "invalid_argument", "must be text, not list", id="array as id"),
        pytest.param(UID, {"u": 1}, "invalid_argument", "must be text, not dict", id="object as id"),
        pytest.param(
            UID, ArrayScalar(), "invalid_argument", "must be text, not ArrayScalar", id="scalar as id"
        ),
        pytest.param(UID, "\ud800", "invalid_argument", "half of a surrogate pair", id="surrogate in an id"),
        pytest.param("user.id", "", "invalid_parameter", "user.id is empty", id="empty id of FullStory's"),
        pytest.param("session.id", "", "invalid_parameter", "session.id is empty", id="empty session"),
        pytest.param("context.browser.url", 1.5, "invalid_argument", "must be text, not float", id="url"),
        pytest.param(
            WIDTH, 2**31, "invalid_parameter", "is not between -2147483648 and", id="width too large"
        ),
        pytest.param(WIDTH, 10**400, "invalid_parameter", "is not between -2147483648 and", id="huge width"),
        pytest.param(WIDTH, Decimal("1E+400"), "", "screen_width", id="huge Decimal width"),
        pytest.param(WIDTH, 1.5, "invalid_argument", "must be a whole number", id="broken width"),
        pytest.param(WIDTH, float("nan"), "invalid_argument", "must be a whole number", id="width NaN"),
        pytest.param(WIDTH, float("inf"), "invalid_argument", "must be a whole number", id="infinite width"),
        pytest.param(WIDTH, Decimal("sNaN"), "invalid_argument", "must be a whole number", id="width sNaN"),
        pytest.param(
            WIDTH, "1920", "invalid_argument", "must be a whole number, not str", id="width as text"
        ),
        pytest.param(WIDTH, True, "invalid_argument", "must be a whole number, not bool", id="width as bool"),
        pytest.param(
            LATITUDE, float("nan"), "invalid_argument", "must be a finite number", id="latitude NaN"
        ),
        pytest.param(
            LATITUDE, Decimal("NaN"), "invalid_argument", "must be a finite number", id="Decimal NaN"
        ),
        pytest.param(LATITUDE, Decimal("sNaN"), "invalid_argument", "must be a finite number", id="sNaN"),
        pytest.param(LATITUDE, 10**400, "invalid_argument", "must be a finite number", id="huge latitude"),
        pytest.param(
            LATITUDE, Decimal("1E+1000000"), "invalid_argument", "must be a finite number", id="1E6"
        ),
        pytest.param(
            LATITUDE, True, "invalid_argument", "must be a finite number, not bool", id="latitude bool"
        ),
        pytest.param(
            LATITUDE, "52", "invalid_argument", "must be a finite number, not str", id="latitude text"
        ),
        pytest.param(RECENT, "true", "invalid_argument", "must be true or false, not str", id="true as text"),
        pytest.param(RECENT, 2, "invalid_argument", "must be true or false, not int", id="two"),
        pytest.param(RECENT, 10**400, "invalid_argument", "must be true or false, not int", id="huge"),
        pytest.param(RECENT, 1.0, "invalid_argument", "must be true or false, not float", id="float one"),
        pytest.param(
            "timestamp", "yesterday", "invalid_parameter", "is text that is not ISO 8601", id="text"
        ),
        pytest.param("timestamp", "", "invalid_parameter", "is text that is not ISO 8601", id="empty text"),
        pytest.param(
            "timestamp", "2026-02-30", "invalid_parameter", "is text that is not ISO", id="no such day"
        ),
        pytest.param("timestamp", "2026-07-01\ud800", "invalid_parameter", "is not ISO 8601", id="surrogate"),
        pytest.param("timestamp", "٢٠٢٦-07-01", "invalid_parameter", "is not ISO 8601", id="foreign digits"),
        pytest.param(
            "timestamp", 1782900000, "invalid_parameter", "not int; convert it in the query", id="epoch"
        ),
        pytest.param("timestamp", datetime.time(9), "invalid_parameter", "not time; convert it", id="time"),
        pytest.param("timestamp", b"2026", "invalid_parameter", "not bytes; convert it", id="bytes"),
        pytest.param("name", "", "invalid_parameter", "name is empty", id="empty name"),
        pytest.param("name", 5.5, "invalid_argument", "name must be text, not float", id="number as name"),
    ],
)
def test_a_field_refuses_what_would_be_a_guess(path: str, value: Any, code: str, reason: str) -> None:
    sent = send_field(path, value, name=None if path == "name" else "Odd")

    assert reason in sent.reason
    assert path in sent.reason
    assert code in sent.code


@pytest.mark.parametrize(
    ("path", "value"),
    [(LATITUDE, Kind.WEIGHT), (WIDTH, Kind.NUMBER)],
    ids=["number", "integer"],
)
def test_an_enumeration_counts_as_its_value(path: str, value: enum.Enum) -> None:
    assert leaf(send_field(path, value).event, path) == value.value


def test_a_naive_timestamp_text_is_in_the_users_time_zone() -> None:
    sent = send_field("timestamp", "2026-07-01T12:00:00", zone=zoneinfo.ZoneInfo("Europe/Berlin"))

    assert sent.event["timestamp"] == "2026-07-01T10:00:00Z"


def test_a_timestamp_outside_the_calendar_is_refused() -> None:
    sent = send_field("timestamp", "0001-01-01T00:00:00+09:00")

    assert sent.reason == "timestamp is not a moment between the years 1 and 9999"
    assert sent.code == "invalid_parameter"


@pytest.mark.parametrize(
    ("event_name", "reason"),
    [
        pytest.param("", "name", id="empty"),
        pytest.param("\ud800", "surrogate", id="lone surrogate"),
    ],
)
def test_an_event_name_that_fullstory_would_refuse_is_refused_here(event_name: str, reason: str) -> None:
    with pytest.raises(FullStoryMappingError, match=f"event_name cannot be sent: .*{reason}"):
        send_records([{UID: "u"}], name=event_name)


def test_a_record_without_a_name_is_refused() -> None:
    sent = send_records([{UID: "u"}], name=None)

    assert sent.reason == "name is missing; fill the column 'name' or set event_name"
    assert sent.code == "required_field"


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (UID, ["a", "é", "😀" * 256]),
        (UID, ["a", "x" * 257, ""]),
        (UID, ["a", "\ud800"]),
        (UID, ["a", " a", "b\n"]),
        ("session.id", ["1:2", "1", ":", "a:b:c", "https://app.fullstory.com/ui/O/session/1:2"]),
        ("timestamp", ["2026-07-01T12:00:00", "2026-07-01 12:00:00+00", "2026-07-01"]),
        ("timestamp", ["2026-07-01T12:00:00 +0000", "2026-07-01T12:00:00Z"]),
        ("timestamp", ["0001-01-01T00:00:00", "2026-07-01T12:00:00Z"]),
        ("timestamp", ["1704101212345", "2026-02-30", "2026-07-01T12:00:00Z"]),
        ("context.location.country", ["DE", "de", "D1", "Deutschland"]),
        ("timestamp", [datetime.datetime(2026, 7, 1, 12), datetime.datetime(2026, 10, 25, 2, 30, fold=1)]),  # noqa: DTZ001
        ("timestamp", [datetime.datetime(1, 1, 1), datetime.datetime(2026, 7, 1)]),  # noqa: DTZ001
        ("timestamp", [datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC)] * 2),
        (
            "timestamp",
            [
                datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC),
                datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")),
                datetime.datetime(9999, 12, 31, 23, tzinfo=zoneinfo.ZoneInfo("America/New_York")),
                datetime.datetime(2026, 7, 1),  # noqa: DTZ001
            ],
        ),
    ],
)
def test_a_column_of_one_kind_becomes_what_its_values_become_one_by_one(path: str, values: list[Any]) -> None:
    options = {"zone": zoneinfo.ZoneInfo("Asia/Tokyo"), "allow_missing_timestamp": True}
    together = send_rows([path], [(value,) for value in values], **options)
    # With a NULL among them, values are converted one by one.
    alone = send_rows([path], [*((value,) for value in values), (None,)], **options)

    assert together.events == alone.events[:-1]
    assert together.refused == alone.refused
