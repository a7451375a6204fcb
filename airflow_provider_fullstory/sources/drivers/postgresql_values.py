"""Values of PostgreSQL read from the text that the database writes, a column at a time."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER
from airflow_provider_fullstory.sources.documents import document, documents
from airflow_provider_fullstory.sources.drivers.times import TimeBeyondPython

if TYPE_CHECKING:
    from collections.abc import Mapping

Texts: TypeAlias = Sequence[str | None]
Reader: TypeAlias = Callable[[Texts], Sequence[Any]]

#: A time as PostgreSQL writes it, which Python's types cannot hold.
_BEYOND_PYTHON: Final = re.compile(r"-?infinity|\d{5,}-.*|.* BC|24:.*")
#: A quoted element of an array, one without quotes, or a brace.
_ARRAY_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{},"]+)|[{}]', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def time_or_beyond(read: Callable[[str], Any], text: str) -> Any:
    """
    Return a time, or what stands for one that Python does not have.

    :param read: Reads the times that Python has.
    :param text: The time as the database writes it.
    """
    return TimeBeyondPython(text) if _BEYOND_PYTHON.fullmatch(text) else read(text)


def _each(read: Callable[[str], Any], texts: Texts) -> list[Any]:
    return [None if text is None else read(text) for text in texts]


def _documents(texts: Texts) -> list[Any]:
    """Read values of JSON; their numbers keep their digits."""
    try:
        return _each(DECODER.decode, texts)
    except (msgspec.DecodeError, ArithmeticError):
        return _each(document, texts)


def _times(read: Callable[[str], Any], texts: Texts) -> list[Any]:
    try:
        return _each(read, texts)
    except ValueError:
        return _each(functools.partial(time_or_beyond, read), texts)


def _arrays(read: Callable[[str], Any], values: Sequence[Any]) -> list[Any]:
    """Read arrays; those that the driver has read stay."""
    return [_array(read, value) if isinstance(value, str) else value for value in values]


def _array(read: Callable[[str], Any], text: str) -> Any:
    # An array whose first index is not 1 begins with its bounds.
    elements = json.loads(_ARRAY_TOKEN.sub(_as_json, text[text.index("{") :]))
    return _read_inside(read, elements)


def _as_json(token: re.Match[str]) -> str:
    quoted, plain = token.groups()
    if quoted is not None:
        return json.dumps(_ESCAPED.sub(r"\1", quoted))
    if plain is not None:
        return "null" if plain == "NULL" else json.dumps(plain)
    return "[" if token[0] == "{" else "]"


def _read_inside(read: Callable[[str], Any], value: Any) -> Any:
    if isinstance(value, list):
        return [_read_inside(read, item) for item in value]
    return None if value is None else read(value)


_date = datetime.date.fromisoformat
_datetime = datetime.datetime.fromisoformat


def _time_of_day(text: str) -> Any:
    # Newer versions of Python take 24:00 for 00:00.
    return TimeBeyondPython(text) if text.startswith("24:") else datetime.time.fromisoformat(text)


def _arrays_of_times(read: Callable[[str], Any]) -> Reader:
    return functools.partial(_arrays, functools.partial(time_or_beyond, read))


text_arrays: Final[Reader] = functools.partial(_arrays, str)

# By the number of the type in PostgreSQL (pg_type); 4000 is Redshift's SUPER.
JSON: Final[Mapping[int, Reader]] = {114: _documents, 3802: _documents, 4000: documents}
TIMES: Final = (1082, 1083, 1114, 1184, 1266)
#: Types that psycopg2 reads one value at a time or inexactly, with its name for each.
READ_FROM_TEXT: Final[Mapping[int, tuple[str, Reader]]] = {
    1700: ("DECIMAL", functools.partial(_each, Decimal)),
    1082: ("DATE", functools.partial(_times, _date)),
    1083: ("TIME", functools.partial(_each, _time_of_day)),
    1114: ("DATETIME", functools.partial(_times, _datetime)),
    1184: ("DATETIMETZ", functools.partial(_times, _datetime)),
    1266: ("TIME", functools.partial(_each, _time_of_day)),
    1115: ("DATETIMEARRAY", _arrays_of_times(_datetime)),
    1182: ("DATEARRAY", _arrays_of_times(_date)),
    1183: ("TIMEARRAY", _arrays_of_times(datetime.time.fromisoformat)),
    1185: ("DATETIMETZARRAY", _arrays_of_times(_datetime)),
    1270: ("TIMEARRAY", _arrays_of_times(datetime.time.fromisoformat)),
}
#: Network addresses, and ranges and multiranges of numbers and times: JSON has no form for them, so they are
#: sent as PostgreSQL writes them.
AS_TEXT: Final = (650, 869, 3904, 3906, 3908, 3910, 3912, 3926, 4451, 4532, 4533, 4534, 4535, 4536)
UUID_ARRAY: Final = 2951
#: Types that a user or an extension has made have this number or a higher one.
FIRST_OWN_TYPE: Final = 16384
