"""Scalars of numpy and pandas, as records of a DataFrame hold them, are what they mean in Python."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.records.sending import send_field, send_records, send_value


@pytest.mark.parametrize(
    ("value", "sent", "declared"),
    [
        (np.bool_(True), True, None),
        (np.int64(5), 5, "int"),
        (np.uint64(2**63 - 1), 2**63 - 1, "int"),
        (np.int8(-5), -5, "int"),
        (np.float64(1.5), Decimal("1.5"), None),
        (np.float32(1.5), Decimal("1.5"), None),
        (np.str_("text"), "text", None),
        (np.datetime64("2026-07-01T12:00:00.123456789", "ns"), "2026-07-01T12:00:00.123456Z", "date"),
        (np.datetime64("2026-07-01T12:00:00", "s"), "2026-07-01T12:00:00Z", "date"),
        (np.datetime64("2026-07-01"), "2026-07-01", "date"),
        (np.timedelta64(90, "s"), Decimal("90.0"), None),
        (np.timedelta64(1_500_000_000, "ns"), Decimal("1.5"), None),
        (pd.Timestamp("2026-07-01T12:00:00", tz="Europe/Berlin"), "2026-07-01T10:00:00Z", "date"),
        (pd.Timedelta(90, "s"), Decimal("90.0"), None),
        ([np.int64(1), np.int64(2)], [1, 2], "ints"),
        ({"y": np.bool_(False)}, {"y": False}, None),
    ],
)
def test_a_scalar_is_sent_as_what_it_is_in_python(value: Any, sent: Any, declared: str | None) -> None:
    event = send_value(value).event

    assert event["properties"]["x"] == sent
    assert type(event["properties"]["x"]) is type(sent)
    assert event.get("schema") == (declared and {"properties": {"x": declared}})


@pytest.mark.parametrize(
    "missing", [pd.NA, pd.NaT, np.datetime64("NaT"), np.timedelta64("NaT")], ids=["NA", "NaT", "dt", "td"]
)
def test_what_is_missing_is_a_null(missing: Any) -> None:
    assert "properties" not in send_value(missing).event
    assert send_value([missing, 1]).event["properties"] == {"x": [1]}
    assert "context" not in send_field("context.browser.url", missing).event
    assert send_field("timestamp", missing).reason.startswith("timestamp is NULL")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.complex64(1), "complex"),
        (np.longdouble(1.5), "longdouble"),
        (np.bytes_(b"a"), "bytes"),
        (np.array([1, 2]), "ndarray"),
        (np.datetime64(300_000, "Y"), "datetime64"),
        (np.timedelta64(1, "Y"), "timedelta64"),
        (pd.Period("2026"), "Period"),
    ],
)
def test_what_json_cannot_say_is_refused_by_its_type(value: Any, kind: str) -> None:
    assert send_value(value).reason.startswith(f"property 'x' is of type {kind}, which has no form in JSON")


@pytest.mark.parametrize(
    ("path", "value", "sent"),
    [
        ("user.uid", np.int64(7), "7"),
        ("context.device.screen_width", np.int64(1920), 1920),
        ("context.location.latitude", np.float64(52.5), Decimal("52.5")),
        ("timestamp", np.datetime64("2026-07-01T12:00:00", "ns"), "2026-07-01T12:00:00Z"),
        ("timestamp", pd.Timestamp("2026-07-01T12:00:00"), "2026-07-01T12:00:00Z"),
    ],
)
def test_a_scalar_fills_a_field(path: str, value: Any, sent: Any) -> None:
    leaf: Any = send_field(path, value).event
    for part in path.split("."):
        leaf = leaf[part]

    assert leaf == sent


def test_a_flag_of_numpy_fills_a_flag() -> None:
    records = [{"user.uid": "u", "session.use_most_recent": np.bool_(value)} for value in (True, False)]

    first, second = send_records(records).events

    assert first["session"] == {"use_most_recent": True}
    assert "session" not in second


def test_records_of_a_dataframe_are_records() -> None:
    frame = pd.DataFrame(
        {"user.uid": ["a", "b"], "n": pd.array([1, None], dtype="Int64"), "ok": [True, False]}
    ).astype(object)

    events = send_records(frame.to_dict("records")).events

    assert [event["properties"] for event in events] == [{"n": 1, "ok": True}, {"ok": False}]


def test_numpy_is_imported_by_those_who_use_it_alone() -> None:
    program = (
        "import sys\n"
        "from tests.records.sending import send_value\n"
        "assert send_value(5).event and send_value(object()).refused\n"
        "sys.exit('numpy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
