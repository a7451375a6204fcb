"""
Refused records as they are written down: to be read by a person, mended, and sent again.

A record is written in the form of FullStory's API, whatever columns it came from, so that sending it again
needs no mapping. A value that JSON cannot say, or that would be read back as something else, is written as
``{"$float": "nan"}``: no property can be called that, so the record is refused again until it is mended.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.records.fields import PROPERTY_ROOTS, SCHEMA_ROOTS, Path, fields, path_of
from airflow_provider_fullstory.records.refusals import ValueRefusedError
from airflow_provider_fullstory.records.rules import MAX_LEVELS
from airflow_provider_fullstory.records.schema import TYPES
from airflow_provider_fullstory.records.timestamps import is_timestamp
from airflow_provider_fullstory.records.values import property_value, unwrapped

if TYPE_CHECKING:
    from airflow_provider_fullstory.api.events import Event

#: The keys of a line in a file of refused records, in their order.
EVENT: Final = "event"
REFUSAL: Final = "refusal"
#: Values within one that are written down; far beyond use, and a value may hold itself.
_MOST_VALUES: Final = 10_000
#: What FullStory calls the kinds of values that JSON has.
_KINDS: Final = {Decimal: "real", float: "real", type(None): "null"}
_ROOTS: Final = frozenset(path.partition(".")[0] for path in (*fields(), *PROPERTY_ROOTS, *SCHEMA_ROOTS))


def draft(
    event: Event,
    refused: Iterable[tuple[Path, Any]],
    zone: datetime.tzinfo,
    declared: Mapping[str, str],
) -> dict[str, Any]:
    """
    Return an event with the values that it was refused for, as JSON.

    :param event: The event without them.
    :param refused: Those values, and where each would go. A path of one part that is no field's is a name
        that fits nowhere.
    :param zone: What datetimes without an offset mean.
    :param declared: Dotted name of a property -> its type, as the user declared it for the import.
    """
    record: dict[str, Any] = DECODER.decode(ENCODER.encode(event))
    within = _by_owner(declared)
    for path, value in refused:
        root = path[0]
        writing = _Writing(zone)
        if root in PROPERTY_ROOTS and len(path) > 1:
            name = ".".join(path[1:])
            _place(record, path, writing.value(name, value))
            types = within.get(name, {}) if root == "properties" else {}
            _declare(record, root, writing.types | types)
        elif root in _ROOTS:
            _place(record, path, writing.field(path, value))
        else:
            name = _text(root)
            # A name that would be good in another record must not be so in this one.
            key = name if path_of(name)[1] else f"${name}"
            record[key] = writing.value(key, value)
            parent, _, rest = key.partition(".")
            is_inside = rest and parent in PROPERTY_ROOTS
            types = {
                name.removeprefix(f"{parent}.") if is_inside else name: kind
                for name, kind in writing.types.items()
            }
            _declare(record, parent if is_inside else "properties", types)
    return with_types(record)


def _by_owner(declared: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the declared types of each property and of those inside it."""
    owners: dict[str, dict[str, str]] = {}
    for name, kind in declared.items():
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            owners.setdefault(".".join(parts[:depth]), {})[name] = kind
    return owners


def with_types(record: dict[str, Any]) -> dict[str, Any]:
    """
    Return an event that says which whole numbers are reals: in JSON, these look like integers.

    :param record: The event as it was, or would be, sent, where integers are declared.
    """
    for root, schema in zip(PROPERTY_ROOTS, SCHEMA_ROOTS, strict=True):
        declared = (record.get(schema) or {}) if isinstance(record.get(schema) or {}, dict) else None
        types = declared.get("properties", {}) if declared is not None else None
        if isinstance(types, dict):
            reals = {name: kind for name, kind in _reals(record.get(root), "") if name not in types}
            _declare(record, root, reals)
    return record


def _reals(values: Any, parents: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            yield from _reals(value, f"{parents}{key}.")
        elif isinstance(value, list) and any(type(element) is int for element in value):
            yield f"{parents}{key}", "reals"
        elif type(value) is int:
            yield f"{parents}{key}", "real"


def plain(value: Any) -> Any:
    """
    Return any value as JSON.

    :param value: The value.
    """
    return _Writing(datetime.UTC).value("", value)


def unfolded(line: Any) -> Any:
    """
    Return the record in a line of a file of refused records; any other line is the record itself.

    :param line: The JSON of the line.
    """
    if isinstance(line, dict) and line.keys() == {EVENT, REFUSAL} and isinstance(line[REFUSAL], dict):
        return line[EVENT]
    return line


def redacted(record: Any) -> Any:
    """
    Return a record with the kind of each value in its place, for logs; a schema, which has no values, stays.

    :param record: JSON.
    """
    if not isinstance(record, Mapping):
        return _kinds(record)
    return {key: _types(value) if key in SCHEMA_ROOTS else _kinds(value) for key, value in record.items()}


def _kinds(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_kinds(item) for item in value[:1]]
    return f"<{_KINDS.get(type(value), type(value).__name__)}>"


def _types(schema: Any) -> Any:
    """Return a schema as it is; in a record that is refused, it may be anything."""
    if isinstance(schema, Mapping):
        return {key: _types(item) for key, item in schema.items()}
    return schema if isinstance(schema, str) and schema in TYPES else _kinds(schema)


def value_at(record: Any, path: Sequence[str]) -> Any:
    """
    Return what a record has at a path, None where it has nothing; names are found without case.

    :param record: JSON.
    :param path: The path.
    """
    for part in path:
        if not isinstance(record, Mapping):
            return None
        folded = part.casefold()
        name = part if part in record else next((key for key in record if key.casefold() == folded), part)
        record = record.get(name)
    return record


class _Writing:
    """
    Write values down as JSON.

    :param zone: What datetimes without an offset mean.
    """

    def __init__(self, zone: datetime.tzinfo) -> None:
        self._zone = zone
        self._left = _MOST_VALUES
        #: What would be declared, by dotted name.
        self.types: dict[str, str] = {}

    def value(self, name: str, value: Any, level: int = 0) -> Any:
        """Return a value as near to what would be sent as it can be."""
        value = unwrapped(value)
        self._left -= 1
        if level > MAX_LEVELS or self._left < 0:
            return _named(value, "too large to be written")
        if isinstance(value, Mapping):
            return {
                (text := key_text(key)): self.value(f"{name}.{text}", item, level + 1)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return self._array(name, value, level)
        sent, kind = self._scalar(value)
        if kind:
            self.types[name] = kind
        return sent

    def field(self, path: Path, value: Any) -> Any:
        """Return a value that a field refused, such that the field will refuse it when it is read again."""
        value = unwrapped(value)
        if value is None or isinstance(value, (bool, int, Mapping, list, tuple)):
            return self.value(".".join(path), value)
        # A moment may lie outside the calendar in one time zone only.
        is_moment = path == ("timestamp",) and isinstance(value, str) and is_timestamp(value)
        return _named(value) if is_moment or not isinstance(value, str) else self._scalar(value)[0]

    def _array(self, name: str, values: Sequence[Any], level: int) -> list[Any]:
        written, kinds = [], set()
        for value in map(unwrapped, values):
            if isinstance(value, (Mapping, list, tuple)):
                written.append(self.value(f"{name}.", value, level + 1))
                kinds.add("")
            else:
                self._left -= 1
                sent, kind = self._scalar(value)
                written.append(sent)
                kinds.add(kind)
        if kinds in ({"date"}, {"int"}):
            self.types[name] = f"{kinds.pop()}s"
        return written

    def _scalar(self, value: Any) -> tuple[Any, str]:
        try:
            sent, kind = property_value("", value, self._zone)
        except ValueRefusedError:
            return _named(value), ""
        if sent is msgspec.UNSET:
            return None, ""
        # What JSON has no type for is sent as text.
        text = msgspec.json.decode(ENCODER.encode(sent)) if isinstance(sent, datetime.date) else sent
        return text, kind if isinstance(kind, str) else ""


def _named(value: Any, text: str | None = None) -> dict[str, str]:
    kind = "Decimal" if isinstance(value, Decimal) else type(value).__name__
    return {f"${kind}": _text(value) if text is None else text}


def _text(value: Any) -> str:
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return base64.b64encode(bytes(value)).decode()
        # Python refuses to write out huge integers in decimal.
        text = hex(value) if isinstance(value, int) else str(value)
        return str.encode(text, "utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - Nothing that a driver gives may keep the other records from the file.
        return "cannot be written"


def key_text(key: Any) -> str:
    """
    Return any key as text.

    :param key: The key.
    """
    key = unwrapped(key)
    # Keys are text; another one must not become a good name by being written down.
    return _text(key) if isinstance(key, str) else f"${type(key).__name__} {_text(key)}"


def _place(record: dict[str, Any], path: Path, value: Any) -> None:
    """Enter a value; where the record has something else in its place, beside that."""
    target: Any = record
    for part in path[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            break
    if isinstance(target, dict) and path[-1] not in target:
        target[path[-1]] = value
    else:
        record[f"${'.'.join(path)}"] = value


def _declare(record: dict[str, Any], root: str, types: Mapping[str, str]) -> None:
    schema = record.setdefault(SCHEMA_ROOTS[PROPERTY_ROOTS.index(root)], {}) if types else None
    if isinstance(schema, dict) and isinstance(schema.setdefault("properties", {}), dict):
        schema["properties"] |= types
