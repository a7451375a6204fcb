"""
Insert ids: 64 bits that name a record, made of the values that are sent.

The values count in the form in which they are sent, so a record of a query has the same insert id as the same
record of a file. Two of ten million ids are equal by chance once in some 370,000 sets.

Where a whole record changes an earlier one, its insert id is keyed: 64 bits say which one it changes, and
then 64 bits what it says. Of ids with the same key, only the latest counts, as content may come back.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import hashlib
import operator
import re
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from airflow_provider_fullstory.api.encoding import ENCODER, Digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import msgspec

#: Bytes of an insert id, and of each half of a keyed one.
INSERT_ID_BYTES: Final = 8
#: Bytes of a keyed insert id.
KEYED_ID_BYTES: Final = 16
#: Types of numbers that can be written in several ways.
_FRACTIONS: Final = frozenset({float, Decimal, Digits})
#: Python's own context would cut numbers after 28 digits, which makes different keys equal.
_EXACT: Final = decimal.Context(
    prec=decimal.MAX_PREC, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.Inexact]
)

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)

#: The content of a keyed insert id whose record may be anything in FullStory: no content is equal to it.
NO_CONTENT: Final = 0
_KEY_BITS: Final = 8 * (KEYED_ID_BYTES - INSERT_ID_BYTES)
_CONTENT: Final = 2**_KEY_BITS - 1
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


def keys_of_records(fields: Sequence[str], records: Sequence[msgspec.Struct]) -> Sequence[int | None]:
    """
    Return a hash of what says which earlier record each record changes, None for those without that.

    :param fields: Fields, the first of which that a record fills says so.
    """
    values = list(map(operator.attrgetter(fields[0]), records))
    if UNSET not in values:
        return _ids(map(str.encode, values))
    return [key_of_values(fields, [getattr(record, field) for field in fields]) for record in records]


def keys_by_field(
    fields: Sequence[str], records: Sequence[msgspec.Struct]
) -> dict[str, Sequence[int | None]]:
    """
    Return a hash of each field that says which earlier record a record changes, by field.

    :param fields: The fields; one that no record fills has no hashes.
    """
    keys: dict[str, Sequence[int | None]] = {}
    for field in fields:
        values = list(map(operator.attrgetter(field), records))
        missing = values.count(UNSET)
        if missing == len(values):
            continue
        present = [value for value in values if value is not UNSET] if missing else values
        names = present if field == fields[0] else (_told_apart(field, value) for value in present)
        hashes = _ids(map(str.encode, names))
        each = iter(hashes)
        keys[field] = [None if value is UNSET else next(each) for value in values] if missing else hashes
    return keys


def key_of_values(fields: Sequence[str], values: Iterable[Any]) -> int | None:
    """
    Return a hash of what says which earlier record a record changes, None if nothing does.

    :param fields: Fields, the first of which that is filled says so.
    :param values: The value of each in the record.
    """
    for field, value in zip(fields, values, strict=True):
        if value is not None and value is not UNSET:
            name = str(value) if field == fields[0] else _told_apart(field, value)
            return _ids([name.encode()])[0]
    return None


def _told_apart(field: str, value: Any) -> str:
    """Return the value of a field as text that is no value of the first one."""
    return f"{field}\0{value}"


def keyed_ids(keys: Iterable[int | None], contents: Iterable[int]) -> Sequence[int]:
    """
    Return keyed insert ids.

    :param keys: The key of each record. One without a key changes nothing, so its content is its key.
    :param contents: The insert id of each whole record.
    """
    return [
        (content if key is None else key) << _KEY_BITS | content
        for key, content in zip(keys, contents, strict=True)
    ]


def key_of(insert_id: int) -> int:
    """Return the key of a keyed insert id."""
    return insert_id >> _KEY_BITS


def content_of(insert_id: int) -> int:
    """Return the content of a keyed insert id."""
    return insert_id & _CONTENT


def packed(ids: Sequence[int], id_bytes: int) -> bytes:
    """
    Return insert ids as they are written down: the highest byte first.

    :param id_bytes: The bytes of each.
    """
    if id_bytes == INSERT_ID_BYTES:
        return struct.pack(f">{len(ids)}Q", *ids)
    return b"".join([one.to_bytes(id_bytes) for one in ids])


def unpacked(content: bytes, id_bytes: int) -> Sequence[int]:
    """
    Return the insert ids that `packed` turned into bytes.

    :param id_bytes: The bytes of each.
    """
    if id_bytes == INSERT_ID_BYTES:
        return struct.unpack(f">{len(content) // INSERT_ID_BYTES}Q", content)
    return [int.from_bytes(content[start : start + id_bytes]) for start in range(0, len(content), id_bytes)]


def _ids(names: Iterable[bytes]) -> Sequence[int]:
    return unpacked(b"".join([_hash(name).digest() for name in names]), INSERT_ID_BYTES)


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
