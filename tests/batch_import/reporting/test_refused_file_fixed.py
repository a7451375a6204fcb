"""A refused record that was fixed in its file arrives as it would have."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from tests.refused_file import BERLIN, NAIVE, WAYS, content_of, fix, in_the_task, lines_of, write
from tests.tries import numbers, posts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("short_waits")


def _set(**values: Any) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, **values}

    return change


def _property(**values: Any) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "properties": {**event.get("properties", {}), **values}}

    return change


def _inner(**values: Any) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        properties = event["properties"]
        return {**event, "properties": {**properties, "o": {**properties["o"], **values}}}

    return change


def _renamed(old: str, new: str) -> Callable[[Any], Any]:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        # Wherever it stands: the types that are declared name it too.
        return {
            key.replace(old, new): change(value) if isinstance(value, dict) else value
            for key, value in event.items()
        }

    return change


def _without_marks(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if not key.startswith("$")}


MOMENT = datetime.datetime(2026, 7, 1, 12, 0, 0, 500, tzinfo=BERLIN)
#: What was wrong, how it is fixed in the file, and what the record is without the mistake.
FIXED: dict[str, tuple[dict[str, Any], Callable[[Any], Any], dict[str, Any], dict[str, Any]]] = {
    "a name": ({"name": None}, _set(name="Order"), {}, {}),
    "an id": ({"user.uid": 5.0}, _set(user={"uid": "5"}), {"user.uid": "5"}, {}),
    "beside a naive moment": ({"name": None, "at": NAIVE}, _set(name="Order"), {"at": NAIVE}, {}),
    "beside a naive timestamp": (
        {"name": None, "timestamp": "2026-07-01T12:00:00"},
        _set(name="Order"),
        {"timestamp": "2026-07-01T12:00:00"},
        {},
    ),
    "beside decimals": (
        {"name": None, "a": Decimal("11.10")},
        _set(name="Order"),
        {"a": Decimal("11.10")},
        {},
    ),
    "beside odd floats": (
        {"name": None, "a": 1e22, "b": 1.5e-7, "c": 5.0},
        _set(name="Order"),
        {"a": 1e22, "b": 1.5e-7, "c": 5.0},
        {},
    ),
    "beside an object": (
        {"name": None, "o": {"d": datetime.date(2026, 1, 1), "n": 1, "t": MOMENT, "l": [1, 2]}},
        _set(name="Order"),
        {"o": {"d": datetime.date(2026, 1, 1), "n": 1, "t": MOMENT, "l": [1, 2]}},
        {},
    ),
    "a number in an object with a moment": (
        {"o": {"at": MOMENT, "n": math.nan}},
        _inner(n=5),
        {"o": {"at": MOMENT, "n": 5}},
        {},
    ),
    "a number in an object with a naive moment": (
        {"o": {"at": NAIVE, "n": math.nan}},
        _inner(n=5),
        {"o": {"at": NAIVE, "n": 5}},
        {},
    ),
    "a number in an object with a date": (
        {"o": {"on": datetime.date(2026, 1, 1), "n": math.nan}},
        _inner(n=5.5),
        {"o": {"on": datetime.date(2026, 1, 1), "n": 5.5}},
        {},
    ),
    "a number in an object with dates": (
        {"o": {"on": [datetime.date(2026, 1, 1)], "n": math.nan}},
        _inner(n=5.5),
        {"o": {"on": [datetime.date(2026, 1, 1)], "n": 5.5}},
        {},
    ),
    "a number in an object with decimals": (
        {"o": {"d": Decimal("11.10"), "n": math.nan}},
        _inner(n=5),
        {"o": {"d": Decimal("11.10"), "n": 5}},
        {},
    ),
    "a property declared real": (
        {"amount": math.nan},
        _property(amount=5),
        {"amount": 5},
        {"schema": {"amount": "real"}},
    ),
    "a property declared date": (
        {"on": b"2026-01-01"},
        _property(on="2026-01-01"),
        {"on": "2026-01-01"},
        {"schema": {"on": "date"}},
    ),
    "a property declared text": (
        {"on": "x", "name": None},
        _set(name="Order"),
        {"on": "x"},
        {"schema": {"on": "str"}},
    ),
    "a property not as declared": (
        {"amount": "many"},
        _property(amount=5),
        {"amount": 5},
        {"schema": {"amount": "real"}},
    ),
    "the name of a property": ({"order id": 5}, _renamed("order id", "order_id"), {"order_id": 5}, {}),
    "the name of a property that is a float": (
        {"order total": 5.5},
        _renamed("order total", "order_total"),
        {"order_total": 5.5},
        {},
    ),
    "the name of a property that is a decimal": (
        {"order total": Decimal("5.50")},
        _renamed("order total", "order_total"),
        {"order_total": Decimal("5.50")},
        {},
    ),
    "the name of a property that is a moment": (
        {"ordered at": MOMENT},
        _renamed("ordered at", "ordered_at"),
        {"ordered_at": MOMENT},
        {},
    ),
    "the name of a property that is a date": (
        {"ordered on": datetime.date(2026, 1, 1)},
        _renamed("ordered on", "ordered_on"),
        {"ordered_on": datetime.date(2026, 1, 1)},
        {},
    ),
    "the name of a property with its parent": (
        {"properties.ordered at": MOMENT},
        _renamed("ordered at", "ordered_at"),
        {"ordered_at": MOMENT},
        {},
    ),
    "what was no properties": ({"properties": "oops", "x": 1}, _without_marks, {"x": 1}, {}),
    "what was no user": ({"user": "bob"}, _without_marks, {}, {}),
}


@pytest.mark.parametrize("case", FIXED)
def test_what_is_fixed_arrives_as_it_would_have(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, case: str
) -> None:
    wrong, change, right, arguments = FIXED[case]
    base = {"name": "Order", "user.uid": "u"}
    first = in_the_task(
        make_context(), events=[base | wrong], timezone="Europe/Berlin", rejected_uri=uri, **arguments
    )
    assert first["invalid"] == 1
    fix_text(uri, change)
    assert in_the_task(make_context(run_id="2"), events=uri)["imported"] == 1
    direct = in_the_task(
        make_context(run_id="3"), events=[base | right], timezone="Europe/Berlin", **arguments
    )
    assert direct["imported"] == 1
    again, expected = (event["event"] for event in emulator.events())
    assert again == expected
    fixed, sent = posts(emulator)
    assert fixed["body_bytes"] == sent["body_bytes"]
    assert fixed["body_sha256"] == sent["body_sha256"]


#: Reads JSON such that numbers are written again as they stand there.
AS_IT_STANDS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    float_hook=lambda text: msgspec.Raw(text.encode())
)


def fix_text(uri: str, change: Callable[[Any], Any]) -> None:
    """Fix the one record of a file as a person with an editor would: all else stays as it is."""
    [text] = content_of(uri).splitlines()
    line = AS_IT_STANDS.decode(text)
    line["event"] = change(line["event"])
    write(uri, msgspec.json.encode(line) + b"\n")


@WAYS
def test_full_circle(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path, import_in: Any
) -> None:
    emulator.order_rejection("properties.number", [4, 12, 20], code="not_now", message="not now")
    events: list[dict[str, Any]] = [
        {"title": "Order", "number": n, "price": Decimal("11.10") + n, "at": "2026-07-01T12:00:00"}
        for n in range(1, 26)
    ]
    events[1]["title"] = None
    events[6]["price"] = math.nan
    events[24]["price"] = b"?"
    arguments = {
        "mapping": {"name": "title", "timestamp": "at"},
        "timezone": "Europe/Berlin",
        "shared": {"user": {"uid": "shop"}, "context": {"browser": {"url": "https://shop"}}},
        "schema": {"number": "real"},
        "record_key": "number",
        "batch_size": 10,
    }
    report = import_in(make_context(), events=events, rejected_uri=uri, **arguments)
    assert (report["invalid"], report["rejected"], report["imported"]) == (3, 3, 19)
    keys = {line["refusal"]["position"]: line["refusal"]["key"] for line in lines_of(uri)}
    assert keys == {position: {"number": position} for position in (2, 4, 7, 12, 20, 25)}

    emulator.forget_rejections()
    fix(uri, {2: _set(name="Order"), 7: _property(price=18.5)})
    second = f"file://{tmp_path}/second.ndjson"
    report = import_in(make_context(run_id="2"), events=uri, rejected_uri=second)
    assert (report["records"], report["invalid"], report["imported"]) == (6, 1, 5)
    [line] = lines_of(second)
    assert (line["event"]["properties"]["number"], line["refusal"]["outcome"]) == (25, "invalid")

    fix(second, {line["refusal"]["position"]: _property(price=36.25)})
    report = import_in(make_context(run_id="3"), events=second)
    assert (report["imported"], report["rejected_uri"]) == (1, None)
    arrived = {
        event["event"]["properties"]["number"]: {**event.get("shared", {}), **event["event"]}
        for event in emulator.events()
    }
    assert numbers(emulator) == list(range(1, 26))
    for number, event in arrived.items():
        assert event == arrived[1] | {"properties": event["properties"]}
        assert event["timestamp"] == "2026-07-01T10:00:00Z"
        assert event["schema"] == {"properties": {"number": "real"}}
        assert number in {7, 25} or event["properties"]["price"] == pytest.approx(11.1 + number)
