"""
Insert ids: 64 bits that name a record, made of the values that are sent.

The values count in the form in which they are sent, so a record of a query has the same insert id as the same
record of a file. Two of ten million ids are equal by chance once in some 370,000 sets.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import hashlib
import re
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.encoding import ENCODER, Digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import msgspec

#: Bytes of an insert id.
INSERT_ID_BYTES: Final = 8
#: Types of numbers that can be written in several ways.
_FRACTIONS: Final = frozenset({float, Decimal, Digits})
#: Python's own context would cut numbers after 28 digits, which makes different keys equal.
_EXACT: Final = decimal.Context(
    prec=decimal.MAX_PREC, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.Inexact]
)

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)

_hash = functools.partial(hashlib.blake2b, digest_size=INSERT_ID_BYTES)


def ids_of_values(columns: Sequence[Sequence[Any]]) -> Sequence[int]:
    """
    Return the insert id of each record, given the columns that make it.

    :param columns: The values of each column as they are sent; none of them is missing.
    """
    values = list(map(_comparable, columns))
    return _ids(ENCODER.encode_lines(list(zip(*values, strict=True))).splitlines())


def ids_of_records(records: Sequence[msgspec.Struct], shared: bytes = b"") -> Sequence[int]:
    """
    Return the insert id of each record, if the whole record makes it.

    :param shared: The JSON of what all records have in common; empty if they share nothing.
    """
    return ids_of_bodies(ENCODER.encode_lines(records).splitlines(), shared)


def ids_of_bodies(bodies: Iterable[bytes], shared: bytes = b"") -> Sequence[int]:
    """
    Return the insert id of each record, given the bytes of the whole record.

    :param shared: The JSON of what all records have in common; empty if they share nothing.
    """
    return _ids(body + shared for body in bodies) if shared else _ids(bodies)


def _ids(names: Iterable[bytes]) -> Sequence[int]:
    digests = b"".join([_hash(name).digest() for name in names])
    return struct.unpack(f">{len(digests) // INSERT_ID_BYTES}Q", digests)


def _comparable(column: Sequence[Any]) -> Sequence[Any]:
    """Return values in one form each, whichever FullStory echoes."""
    types = set(map(type, column))
    if not _FRACTIONS.isdisjoint(types):
        column = list(map(_plain, column))
    if str in types and any(type(value) is str and _DATE.match(value) for value in column):
        column = list(map(_instant, column))
    return column


def _instant(value: Any) -> Any:
    """Return text that is a moment as the moment; digits beyond microseconds tell records apart."""
    if type(value) is not str or not _MOMENT.fullmatch(value):
        return value
    try:
        return datetime.datetime.fromisoformat(value).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return value


def _plain(value: Any) -> Any:
    """Return a number in one form: 5.0, 5.00 and 5 are equal, and FullStory may echo any of them."""
    if type(value) not in _FRACTIONS:
        return value
    number = Decimal(repr(value)) if type(value) is float else Decimal(value)
    return int(number) if number == number.to_integral_value() else number.normalize(_EXACT)
