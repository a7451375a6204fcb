"""
Refused records as they are written down: to be read by a person, mended, and sent again.

A record is written in the form of FullStory's API, whatever columns it came from, so that sending it again
needs no mapping. A value that JSON cannot say, or that would be read back as something else, is written as
``{"$float": "nan"}``: no property can be called that, so the record is refused again until it is mended.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.records.encoding import DECODER, ENCODER
from airflow_provider_fullstory.records.fields import PROPERTY_ROOTS, Path
from airflow_provider_fullstory.records.refusals import ValueRefusedError
from airflow_provider_fullstory.records.validation import MAX_LEVELS
from airflow_provider_fullstory.records.values import property_value, unwrapped

if TYPE_CHECKING:
    from airflow_provider_fullstory.api.models import Event

#: The keys of a line in a file of refused records, in their order.
EVENT: Final = "event"
REFUSAL: Final = "refusal"


def draft(event: Event, refused: Iterable[tuple[Path, Any]], zone: datetime.tzinfo) -> dict[str, Any]:
    """
    Return an event with the values that it was refused for, as JSON.

    :param event: The event without them.
    :param refused: Those values, and where each would go.
    :param zone: What datetimes without an offset mean.
    """
    record: dict[str, Any] = DECODER.decode(ENCODER.encode(event))
    for path, value in refused:
        _place(record, path, _of_field(value, zone) if path[0] not in PROPERTY_ROOTS else plain(value, zone))
    return record


def plain(value: Any, zone: datetime.tzinfo = datetime.UTC, level: int = 0) -> Any:
    """
    Return any value as JSON, as near to what would be sent as it can be.

    :param value: The value.
    :param zone: What datetimes without an offset mean.
    :param level: In how many others it is nested.
    """
    value = unwrapped(value)
    if level > MAX_LEVELS:
        return _named(value, "nested too deep to be written")
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {_key(key): plain(item, zone, level + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, zone, level + 1) for item in value]
    return _scalar(value, zone)


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
    Return a record with the kind of each value in its place, for logs.

    :param record: JSON.
    """
    if isinstance(record, Mapping):
        return {key: redacted(value) for key, value in record.items()}
    if isinstance(record, list):
        return [redacted(value) for value in record[:1]]
    return f"<{type(record).__name__}>"


def value_at(record: Any, path: Sequence[str]) -> Any:
    """
    Return what a record has at a path, None where it has nothing.

    :param record: JSON.
    :param path: The path.
    """
    for part in path:
        record = record.get(part) if isinstance(record, Mapping) else None
    return record


def _scalar(value: Any, zone: datetime.tzinfo) -> Any:
    try:
        sent, _ = property_value("", value, zone)
    except ValueRefusedError:
        return _named(value)
    # What JSON has no type for is sent as text; here it must not be left to the encoder of the file.
    return sent.isoformat() if isinstance(sent, datetime.date) else sent


def _of_field(value: Any, zone: datetime.tzinfo) -> Any:
    """Return a value that a field refused, such that the field will refuse it when it is read again."""
    value = unwrapped(value)
    if value is None or isinstance(value, (str, bool, int, Mapping, list, tuple)):
        return plain(value, zone)
    return _named(value)


def _named(value: Any, text: str | None = None) -> dict[str, str]:
    return {f"${type(value).__name__}": _text(value) if text is None else text}


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    try:
        # Python refuses to write out huge integers in decimal.
        text = hex(value) if isinstance(value, int) else str(value)
    except Exception:  # noqa: BLE001 - Nothing that a driver gives may keep the other records from the file.
        return "cannot be written"
    return text.encode("utf-8", "backslashreplace").decode()


def _key(key: Any) -> str:
    return _text(unwrapped(key))


def _place(record: dict[str, Any], path: Path, value: Any) -> None:
    target = record
    for part in path[:-1]:
        inner = target.setdefault(part, {})
        if not isinstance(inner, dict):
            record[".".join(path)] = value
            return
        target = inner
    target[path[-1]] = value
