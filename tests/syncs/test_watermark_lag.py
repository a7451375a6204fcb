"""A watermark less its lag is never too high."""

# ruff: noqa: DTZ001 - Datetimes without an offset are what is tested.

from __future__ import annotations

import datetime
import functools
import sys
import zoneinfo
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pandas as pd
import pendulum
import pytest
from hypothesis import assume, example, given, settings, strategies as st

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.watermark_lag import check_lag, less

if TYPE_CHECKING:
    from collections.abc import Callable

UTC = datetime.UTC
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
#: With setbacks of 30 minutes, of a day, at midnight, and where the offset had seconds.
ZONES = [
    zoneinfo.ZoneInfo(name)
    for name in (
        "UTC",
        "America/New_York",
        "Europe/Berlin",
        "Europe/Dublin",
        "Australia/Lord_Howe",
        "America/Havana",
        "Africa/Casablanca",
        "Asia/Kolkata",
        "Pacific/Apia",
        "Pacific/Kwajalein",
        "America/Juneau",
        "Asia/Manila",
        "Antarctica/Troll",
    )
] + [pendulum.timezone("Europe/Paris"), pendulum.timezone("America/Sao_Paulo"), pendulum.FixedTimezone(-3600)]


def minus(value: Any, lag: Any = None, zone: datetime.tzinfo = UTC, **options: Any) -> Any:
    return less(value, lag, zone, column="c", **options)


def local(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts)  # type: ignore[arg-type]


# Numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "lag", "result"),
    [
        (2**64, 10, 2**64 - 10),
        (10, 2.5, 7),
        (10, Decimal("0.1"), 9),
        (Decimal("10.50"), 1, Decimal("9.50")),
        (Decimal("10.50"), 0.1, Decimal("10.40")),
        (
            Decimal("12345678901234567890123456789.5"),
            Decimal("0.5"),
            Decimal("12345678901234567890123456789.0"),
        ),
        (1.5, 1, 0.5),
        (-sys.float_info.max, sys.float_info.max, -sys.float_info.max),
    ],
)
def test_a_number_keeps_its_type(value: Any, lag: Any, result: Any) -> None:
    assert minus(value, lag) == result
    assert str(minus(value, lag)) == str(result)


@given(
    st.one_of(st.integers(), st.floats(-1e9, 1e9), st.decimals(-(10**40), 10**40)),
    st.one_of(st.integers(0), st.floats(0, 1e9), st.decimals(0, 10**40)),
)
def test_a_number_is_never_too_high(value: Any, lag: Any) -> None:
    assume(not isinstance(value, float) or lag < 1e300)
    result = minus(value, lag)
    assert Fraction(result) <= Fraction(value) - Fraction(str(lag) if isinstance(value, Decimal) else lag)
    assert type(result) is type(value)


# Timestamps with a time zone, and dates ---------------------------------------------------------------------


def test_of_a_timestamp_with_a_time_zone_the_instant_is_moved() -> None:
    moment = datetime.datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=1)
    assert minus(moment, timedelta(hours=1)) == datetime.datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert minus(moment) is moment
    earliest = datetime.datetime.min.replace(tzinfo=UTC)
    assert minus(earliest + timedelta(1), timedelta(2)) == earliest


def test_pandas_keeps_its_nanoseconds() -> None:
    moment = pd.Timestamp("2026-01-31T09:30:00.123456789Z")
    assert minus(moment, timedelta(hours=1)) == pd.Timestamp("2026-01-31T08:30:00.123456789Z")
    naive = moment.tz_localize(None)
    assert minus(naive, may_go_back=True) is naive
    result = minus(naive, timedelta(hours=1))
    assert isinstance(result, pd.Timestamp)
    assert result == pd.Timestamp("2026-01-31T08:30:00.123456")


@pytest.mark.parametrize(
    ("lag", "result"),
    [
        (timedelta(), date(2026, 3, 1)),
        (timedelta(minutes=15), date(2026, 2, 28)),
        (timedelta(days=1), date(2026, 2, 28)),
        (timedelta(days=1, microseconds=1), date(2026, 2, 27)),
        (timedelta.max, date.min),
    ],
)
def test_of_a_date_whole_days_are_taken(lag: timedelta, result: date) -> None:
    assert minus(date(2026, 3, 1), lag) == result
    assert minus("2026-03-01", lag) == result.isoformat()


# Timestamps without a time zone -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "lag_minutes", "result"),
    [
        # Clocks are set back from 2 to 1.
        (local(2026, 11, 1, 0, 59), 15, local(2026, 11, 1, 0, 44)),
        (local(2026, 11, 1, 1, 0), 15, local(2026, 11, 1, 0, 45)),
        (local(2026, 11, 1, 1, 30), 15, local(2026, 11, 1, 1, 0)),
        (local(2026, 11, 1, 1, 30), 0, local(2026, 11, 1, 1, 0)),
        (local(2026, 11, 1, 1, 59, 59), 15, local(2026, 11, 1, 1, 0)),
        (local(2026, 11, 1, 2, 0), 0, local(2026, 11, 1, 2, 0)),
        (local(2026, 11, 1, 2, 10), 15, local(2026, 11, 1, 1, 55)),
        (local(2026, 11, 1, 2, 10), 75, local(2026, 11, 1, 1, 0)),
        (local(2026, 11, 1, 2, 10), 180, local(2026, 11, 1, 0, 10)),
        # Clocks are set forward from 2 to 3.
        (local(2026, 3, 8, 3, 10), 15, local(2026, 3, 8, 1, 55)),
        (local(2026, 3, 8, 2, 30), 0, local(2026, 3, 8, 1, 30)),
        (local(2026, 3, 8, 3, 0), 0, local(2026, 3, 8, 3, 0)),
    ],
)
def test_a_local_time_goes_back_to_the_start_of_an_hour_that_occurs_twice(
    value: datetime.datetime, lag_minutes: int, result: datetime.datetime
) -> None:
    assert minus(value, timedelta(minutes=lag_minutes), NEW_YORK, may_go_back=True) == result


def test_without_a_lag_it_goes_back_only_if_it_may() -> None:
    value = local(2026, 11, 1, 1, 30)
    assert minus(value, zone=NEW_YORK) is value
    assert minus(value, zone=NEW_YORK, may_go_back=True) == local(2026, 11, 1, 1)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime.datetime(1840, 1, 1), datetime.datetime(2040, 1, 1)),
    st.timedeltas(timedelta(), timedelta(days=3)),
    st.timedeltas(timedelta(), timedelta(days=3)),
    st.booleans(),
)
@example(NEW_YORK, local(2026, 11, 1, 1, 59), timedelta(), timedelta(minutes=1), False)
def test_no_row_that_is_newer_is_left_out(
    zone: datetime.tzinfo, value: datetime.datetime, lag: timedelta, later: timedelta, fold: bool
) -> None:
    try:
        stored_at = value.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    except OverflowError:
        assume(False)
    row = (stored_at - lag + later).astimezone(zone).replace(tzinfo=None)
    assert minus(value, lag, zone, may_go_back=True) <= row


@functools.cache
def changes_of(zone: datetime.tzinfo) -> list[datetime.datetime]:
    """Return the days in which clocks change, of 60 years."""
    days = [datetime.datetime(1978, 1, 1, tzinfo=UTC) + timedelta(n) for n in range(60 * 365)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return [day for day, *pair in zip(days, offsets, offsets[1:], strict=False) if pair[0] != pair[1]]


@st.composite
def around_a_change(draw: st.DrawFn) -> tuple[datetime.tzinfo, datetime.datetime]:
    """Give a local time within two days of a change of clocks."""
    zone = draw(st.sampled_from(ZONES))
    changes = changes_of(zone)
    assume(changes)
    instant = draw(st.sampled_from(changes)) + draw(st.timedeltas(-timedelta(1), timedelta(2)))
    return zone, instant.astimezone(zone).replace(tzinfo=None, fold=0)


@settings(max_examples=300, deadline=None)
@given(
    around_a_change(),
    st.timedeltas(timedelta(), timedelta(hours=30)),
    st.timedeltas(timedelta(), timedelta(hours=30)),
    st.booleans(),
)
def test_none_is_left_out_where_clocks_change(
    around: tuple[datetime.tzinfo, datetime.datetime], lag: timedelta, later: timedelta, fold: bool
) -> None:
    zone, value = around
    stored_at = value.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    row = (stored_at - lag + later).astimezone(zone).replace(tzinfo=None)
    result = minus(value, lag, zone, may_go_back=True)
    assert result <= row
    # It does not go back without need either.
    assert value - result <= lag + timedelta(hours=26)


def test_a_whole_day_that_occurs_twice_is_read_again() -> None:
    juneau = zoneinfo.ZoneInfo("America/Juneau")
    # On 1867-10-19 at 15:33:32, the date line moved past Alaska, and the day began again.
    result = minus(local(1867, 10, 19, 12), timedelta(), juneau, may_go_back=True)
    assert result == local(1867, 10, 18, 15, 33, 32)


# Text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("2026-01-31 09:30:00", "2026-01-31 09:15:00"),
        ("2026-01-31T09:30:00", "2026-01-31T09:15:00"),
        ("2026-01-31T09:30", "2026-01-31T09:15"),
        ("2026-01-31 09:30:00.5", "2026-01-31 09:15:00.5"),
        ("2026-01-31 09:30:00,505", "2026-01-31 09:15:00,505"),
        ("2026-01-31 09:30:00.123456", "2026-01-31 09:15:00.123456"),
        ("2026-01-31 09:30:00.123456789", "2026-01-31 09:15:00.123455000"),
        ("2026-01-31T09:30:00+02:00", "2026-01-31T09:15:00+02:00"),
        ("2026-01-31 09:30:00.000 -0700", "2026-01-31 09:14:59.999 -0700"),
        ("2026-01-31 09:30:00 UTC", "2026-01-31 09:15:00 UTC"),
        # 09:15:00 sorts before 09:15:00.00, and 09:15:00.5Z before 09:15:00Z.
        ("2026-01-31 09:30:00.00", "2026-01-31 09:14:59.99"),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:14:59Z"),
        ("2026-01-31T09:30:00.000Z", "2026-01-31T09:14:59.999Z"),
        ("2026-01-31T09:30Z", "2026-01-31T09:14Z"),
    ],
)
def test_a_timestamp_as_text_keeps_its_form(value: str, result: str) -> None:
    assert minus(value, timedelta(minutes=15)) == result
    assert minus(value) is value
    assert minus(value, timedelta(), may_go_back=True) is value


def test_what_the_form_has_no_digits_for_is_cut_off() -> None:
    assert minus("2026-01-31 09:30", timedelta(seconds=1)) == "2026-01-31 09:29"
    assert minus("2026-01-31 09:30:00.50", timedelta(milliseconds=1)) == "2026-01-31 09:30:00.49"


def test_a_local_time_as_text_goes_back_too() -> None:
    assert minus("2026-11-01 01:30:00", zone=NEW_YORK, may_go_back=True) == "2026-11-01 01:00:00"
    assert minus("2026-11-01 02:10:00.25", timedelta(minutes=75), NEW_YORK) == "2026-11-01 00:59:59.99"
    assert minus("2026-11-01 01:30:00", zone=NEW_YORK) == "2026-11-01 01:30:00"


def shortest(moment: datetime.datetime) -> str:
    text = moment.isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".")


@given(
    st.sampled_from([str, datetime.datetime.isoformat, shortest]),
    st.sampled_from(["", "Z", "+00:00", " UTC"]),
    st.datetimes(datetime.datetime(2025, 1, 1), datetime.datetime(2026, 1, 1)),
    st.timedeltas(timedelta(), timedelta(minutes=2)),
    st.one_of(st.just(timedelta()), st.timedeltas(timedelta(), timedelta(seconds=2))),
)
def test_no_row_is_left_out_where_forms_differ_in_one_column(
    written: Callable[[datetime.datetime], str],
    offset: str,
    value: datetime.datetime,
    lag: timedelta,
    later: timedelta,
) -> None:
    assume(lag)
    # Each of these leaves out zeros, some or all.
    row = f"{written(value - lag + later)}{offset}"
    assert minus(f"{written(value)}{offset}", lag) <= row


# What does not go together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "lag", "says"),
    [
        (5, timedelta(1), "holds values of type int; it must be a number"),
        (Decimal(5), timedelta(1), "type Decimal; it must be a number"),
        (datetime.datetime.now(UTC), 5, "type datetime; it must be a timedelta"),
        (date(2026, 1, 1), 5, "type date; it must be a timedelta"),
        ("2026-01-01", 5, "type str"),
        ("abc", timedelta(1), "text that is no timestamp has no lag; leave it out"),
        ("2026-02-31", timedelta(1), "text that is no timestamp"),
        ("2026-01-31 09:30.5", timedelta(1), "text that is no timestamp"),
        (b"\x07", 1, "bytes has no lag"),
    ],
)
def test_a_lag_that_does_not_go_with_the_column_is_refused(value: Any, lag: Any, says: str) -> None:
    with pytest.raises(FullStoryInputError, match=f"^The lag of the watermark is .* column 'c' .*{says}"):
        minus(value, lag)


@pytest.mark.parametrize(
    ("lag", "says"),
    [
        (timedelta(-1), "must not be negative"),
        (-1, "must not be negative"),
        (float("nan"), "must be finite"),
        (Decimal("Infinity"), "must be finite"),
        (True, "must be a timedelta"),
        ("15 minutes", "must be a timedelta"),
    ],
)
def test_what_is_no_lag_is_refused(lag: Any, says: str) -> None:
    with pytest.raises(FullStoryInputError, match=says):
        check_lag(lag)


@pytest.mark.parametrize("value", ["abc", b"abc", 5, 0.5, Decimal(5), "2026-02-31", date.min])
def test_without_a_lag_any_value_is_given_as_it_is(value: Any) -> None:
    assert minus(value) is value
    assert minus(value, may_go_back=True) == value
