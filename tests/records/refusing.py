"""Records that are refused, written down as in the file of refused records, and sent again."""

from __future__ import annotations

import datetime
import enum
import signal
import zoneinfo
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records, map_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.redaction import redacted
from airflow_provider_fullstory.records.refused_records import REFUSAL, record_of_line
from tests.records.sending import Sent, batched

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_fullstory.records.refusals import InvalidRecord


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
GOOD = {"name": "A", "user.uid": "u"}
TOO_LONG = 5.0


class TakesTooLongError(BaseException):
    """What nothing under test catches."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where something takes more of the processor's time, however deep in Python it is."""

    def fail(*_: object) -> NoReturn:
        raise TakesTooLongError

    # Not the clock's time, of which other processes take their share.
    before = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except TakesTooLongError:
        raise AssertionError(f"It takes longer than {seconds} s.") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


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


def written(record: Any, **options: Any) -> Any:
    return record_of_line(EVENTS, DECODER.decode(line_of(refused(record, **options))))


def again(invalid: InvalidRecord, **options: Any) -> Sent:
    """Send the record as it was written down, with none of the options that the record came with."""
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
