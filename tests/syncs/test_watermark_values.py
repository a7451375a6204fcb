"""A value of a database survives being stored, with its type."""

# ruff: noqa: DTZ001, DTZ901 - Datetimes without an offset are among what is tested.

from __future__ import annotations

import datetime
import sys
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pendulum
import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.record import StoredValue
from airflow_provider_fullstory.syncs.watermark_values import parsed_by_hand, restored, stored

UTC = datetime.UTC
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
NANOSECONDS = "2026-01-31T09:30:00.123456789"


def through_json(value: Any) -> Any:
    content = msgspec.json.encode(stored(value, "c"))
    return restored(msgspec.json.decode(content, type=StoredValue))


@given(
    st.one_of(
        st.datetimes(),
        st.dates(),
        st.integers(),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.binary(),
        st.datetimes(timezones=st.timezones(no_cache=True)),
    )
)
def test_any_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    back = through_json(value)
    assert back == value
    assert type(back) is type(value)
    assert str(back) == str(value) or isinstance(value, datetime.datetime)


def test_values_are_stored_so_that_people_can_read_them() -> None:
    values = [
        datetime.datetime(2026, 7, 1, 12, tzinfo=NEW_YORK),
        datetime.datetime(2026, 7, 1, 12, 0, 0, 5),
        datetime.date(2026, 7, 1),
        2**64,
        Decimal("10.50"),
        0.1,
        "01J9",
        b"\x00\x07\xd1",
    ]
    assert [(kept.type, kept.value) for kept in (stored(value, "c") for value in values)] == [
        ("timestamp", "2026-07-01T16:00:00.000000+00:00"),
        ("local-timestamp", "2026-07-01T12:00:00.000005"),
        ("date", "2026-07-01"),
        ("integer", "18446744073709551616"),
        ("decimal", "10.50"),
        ("float", "0.1"),
        ("text", "01J9"),
        ("bytes", "0x0007d1"),
    ]


@pytest.mark.parametrize("fold", [0, 1])
def test_of_an_hour_that_occurs_twice_the_instant_is_kept(fold: int) -> None:
    moment = datetime.datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=fold)
    assert through_json(moment).isoformat() == f"2026-11-01T0{5 + fold}:30:00+00:00"


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_nanoseconds_of_pandas_are_kept(zone: str | None) -> None:
    moment = pd.Timestamp(NANOSECONDS, tz=zone)
    back = through_json(moment)
    assert back == moment
    assert isinstance(back, pd.Timestamp)
    assert back.nanosecond == 789
    assert isinstance(through_json(pd.Timestamp("2026-01-31", tz=zone)), pd.Timestamp)


def test_without_pandas_nanoseconds_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = stored(pd.Timestamp("2026-01-31T09:30:00.999999999"), "c")
    monkeypatch.setitem(sys.modules, "pandas", None)
    back = restored(kept)
    assert type(back) is datetime.datetime
    assert back == datetime.datetime(2026, 1, 31, 9, 30, 0, 999999)


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (memoryview(b"ab"), b"ab"),
        (bytearray(b"ab"), b"ab"),
        (np.int64(7), 7),
        (np.float64(0.5), 0.5),
        (np.str_("a"), "a"),
        (pendulum.datetime(2026, 1, 31, 9, 30, tz="UTC"), datetime.datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (pendulum.date(2026, 1, 31), datetime.date(2026, 1, 31)),
    ],
)
def test_what_drivers_wrap_values_in_is_taken_off(value: Any, back: Any) -> None:
    assert through_json(value) == back
    assert type(through_json(value)) is type(back)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (True, "bool"),
        (None, "NoneType"),
        (pd.NaT, "NoneType"),
        (uuid.UUID(int=1), "UUID.*cast it to text"),
        (datetime.time(9), "time"),
        (datetime.timedelta(1), "timedelta"),
        ([1], "list"),
        (1j, "complex"),
        (np.datetime64("2026-01-31"), "datetime64"),
        (np.bool_(True), "bool"),
        (float("nan"), "NaN or infinite"),
        (float("-inf"), "NaN or infinite"),
        (Decimal("sNaN"), "NaN or infinite"),
        ("\ud800", "no UTF-8 form"),
    ],
)
def test_another_value_is_refused_by_its_type(value: Any, names: str) -> None:
    with pytest.raises(FullStoryInputError, match=f"^Column 'changed' cannot be a watermark.*{names}"):
        stored(value, "changed")


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (
            StoredValue("timestamp", "yesterday"),
            "'yesterday' is no timestamp with a time zone.*fullstory-sync",
        ),
        (StoredValue("float", "nan"), "is no floating"),
        (StoredValue("decimal", "x"), "is no decimal"),
        (StoredValue("point", "1"), "type 'point'.*knows timestamp, "),
    ],
)
def test_a_damaged_value_is_not_guessed(kept: StoredValue, says: str) -> None:
    with pytest.raises(FullStoryInputError, match=says):
        restored(kept)


# By hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "like", "value"),
    [
        (
            "2026-01-31T09:30:00Z",
            datetime.datetime.now(UTC),
            datetime.datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        ),
        (
            "2026-01-31 10:30+01",
            datetime.datetime.now(UTC),
            datetime.datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        ),
        (" 2026-01-31 09:30:00.5", datetime.datetime.min, datetime.datetime(2026, 1, 31, 9, 30, 0, 500000)),
        ("2026-01-31", datetime.datetime.min, datetime.datetime(2026, 1, 31)),
        ("2026-01-31", datetime.date.min, datetime.date(2026, 1, 31)),
        ("-7", 1, -7),
        ("7.50", Decimal(1), Decimal("7.50")),
        ("7", 0.5, 7.0),
        (" 7 ", "text", " 7 "),
        ("0x07D1", b"", b"\x07\xd1"),
        ("07d1", b"", b"\x07\xd1"),
        ("2026-01-31T09:30:00", pd.Timestamp(NANOSECONDS), pd.Timestamp("2026-01-31T09:30:00")),
        (f"{NANOSECONDS}Z", pd.Timestamp(NANOSECONDS, tz="UTC"), pd.Timestamp(NANOSECONDS, tz="UTC")),
        ("2026-01-31T09:30:00.1234567", datetime.datetime.min, pd.Timestamp("2026-01-31T09:30:00.1234567")),
    ],
)
def test_what_a_person_gives_takes_the_type_that_is_stored(text: str, like: Any, value: Any) -> None:
    given_by_hand = parsed_by_hand(text, stored(like, "c"))
    assert given_by_hand == stored(value, "c")
    assert type(restored(given_by_hand)) is type(value)


def test_a_type_that_is_given_stands_above_the_one_that_is_stored() -> None:
    assert parsed_by_hand("7", stored("x", "c"), "integer") == StoredValue("integer", "7")
    assert parsed_by_hand("7", None, "text") == StoredValue("text", "7")


@pytest.mark.parametrize(
    ("text", "like", "type_name", "says"),
    [
        ("7", None, None, "no watermark yet: give its type with --type, one of timestamp, local-timestamp"),
        ("7", 1, "number", "no type 'number'"),
        ("2026-01-31T09:30:00", datetime.datetime.now(UTC), None, "2026-01-31T09:30:00Z, with its offset"),
        ("2026-01-31T09:30:00Z", datetime.datetime.min, None, "without an offset"),
        ("2026-02-31", datetime.date.min, None, "'2026-02-31' is no date; write it as 2026-01-31"),
        ("7.5", 1, None, "is no whole number"),
        ("inf", 1.5, None, "is no floating"),
        ("NaN", Decimal(1), None, "is no decimal"),
        ("0x7", b"", None, "hexadecimal"),
        ("\udc80", "text", None, "no UTF-8 form"),
    ],
)
def test_what_is_not_of_the_type_is_refused(text: str, like: Any, type_name: str | None, says: str) -> None:
    with pytest.raises(FullStoryInputError, match=says):
        parsed_by_hand(text, None if like is None else stored(like, "c"), type_name)
