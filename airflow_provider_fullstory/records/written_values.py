"""
Any value as JSON, for a record that is written down since it cannot be sent.

A value that JSON cannot express, or that would be read back as something else, is written as
``{"$float": "nan"}``. No property can have that name, so the record is invalid again until it is fixed.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.records import timestamps
from airflow_provider_fullstory.records.property_values import property_value
from airflow_provider_fullstory.records.refusals import ValueRefusedError
from airflow_provider_fullstory.records.rules import MAX_LEVELS
from airflow_provider_fullstory.records.values import unwrapped

#: Most values inside one value that are written down; far beyond use, since a value may hold itself.
_MOST_VALUES: Final = 10_000


def as_json(value: Any) -> Any:
    """Return any value as JSON."""
    return Writing(datetime.UTC).value("", value)


class Writing:
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
        """
        Return a value as near to what would be sent as it can be.

        :param name: Its dotted name.
        :param value: Any value.
        :param level: How many objects it is in.
        """
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

    def field(self, name: str, value: Any, *, is_timestamp: bool) -> Any:
        """
        Return a value that a field refused, in a form that the field refuses again.

        :param name: Dotted path of the field.
        :param value: The value.
        :param is_timestamp: Whether the field takes timestamps.
        """
        value = unwrapped(value)
        if value is None or isinstance(value, (bool, int, Mapping, list, tuple)):
            return self.value(name, value)
        # A moment may lie outside the calendar in one time zone only.
        is_moment = is_timestamp and isinstance(value, str) and timestamps.is_timestamp(value)
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
        # Values for which JSON has no type are sent as text.
        text = msgspec.json.decode(ENCODER.encode(sent)) if isinstance(sent, datetime.date) else sent
        return text, kind if isinstance(kind, str) else ""


def _named(value: Any, text: str | None = None) -> dict[str, str]:
    kind = "Decimal" if isinstance(value, Decimal) else type(value).__name__
    return {f"${kind}": as_text(value) if text is None else text}


def as_text(value: Any) -> str:
    """Return any value as text that has a UTF-8 form."""
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return base64.b64encode(bytes(value)).decode()
        # Python refuses to write out huge integers in decimal.
        text = hex(value) if isinstance(value, int) else str(value)
        return str.encode(text, "utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - Nothing that a driver gives may keep the other records from the file.
        return "cannot be written"


def key_text(key: Any) -> str:
    """Return any key as text."""
    key = unwrapped(key)
    # Keys are text; another one must not become a good name by being written down.
    return as_text(key) if isinstance(key, str) else f"${type(key).__name__} {as_text(key)}"
