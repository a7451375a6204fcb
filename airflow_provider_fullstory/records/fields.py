"""
One field of FullStory's API: what it takes, and how a value, or a column of values, is converted to that.

The type comes from the wire type, so nothing else has to list the field.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from airflow_provider_fullstory.records.columns import Column, convert_column
from airflow_provider_fullstory.records.field_values import (
    as_boolean,
    as_integer,
    as_moment,
    as_number,
    as_text,
)
from airflow_provider_fullstory.records.limits import Limits, are_texts, check_number, check_text
from airflow_provider_fullstory.records.timestamps import parsed_column
from airflow_provider_fullstory.records.values import unwrapped, utc_column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Path = tuple[str, ...]
Conversion: TypeAlias = "Callable[[Any, datetime.tzinfo], Any]"

_TAKES: Final[dict[type[msgspec.inspect.Type], str]] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.IntType: "whole number",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "true or false",
    msgspec.inspect.DateTimeType: "timestamp",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """
    A field that is neither an object nor a property.

    :param path: Its dotted path.
    :param type: Its type.
    :param limits: What its text or number must keep to.
    :param convert: Converts a value that is not None, given the time zone of timestamps without an offset;
        raises ValueRefusedError if the field does not take the value.
    """

    path: str
    type: msgspec.inspect.Type
    limits: Limits
    convert: Conversion

    @property
    def takes(self) -> str:
        """What it takes, for a person."""
        return _TAKES[type(self.type)]

    @property
    def is_timestamp(self) -> bool:
        """Whether it takes a timestamp."""
        return isinstance(self.type, msgspec.inspect.DateTimeType)

    def column(self, values: Sequence[Any], zone: datetime.tzinfo) -> Column:
        """
        Convert a column.

        If all values are plain text, or plain datetimes, that is a few passes in C.

        :param values: The values as the source gave them.
        :param zone: What datetimes without an offset mean.
        """
        types = set(map(type, values))
        is_text = isinstance(self.type, msgspec.inspect.StrType)
        if types == {str} and is_text and are_texts(values, self.limits):
            return Column(list(values), is_full=True)
        if types in ({str}, {datetime.datetime}) and self.is_timestamp:
            moments = parsed_column(values) if types == {str} else values
            moments = None if moments is None else utc_column(moments, zone)
            if moments is not None:
                return Column(moments, is_full=True)

        def converted(value: Any) -> tuple[Any, None]:
            value = unwrapped(value)
            return (msgspec.UNSET if value is None else self.convert(value, zone)), None

        return convert_column(values, converted)


def field_of(path: str, field_type: msgspec.inspect.Type, limits: Limits) -> Field:
    """
    Return a field.

    :param path: Its dotted path.
    :param field_type: Its type.
    :param limits: What its text or number must keep to.
    :raises TypeError: If this package has no conversion to the type.
    """
    return Field(path, field_type, limits, _conversion(path, field_type, limits))


def _conversion(path: str, field_type: msgspec.inspect.Type, limits: Limits) -> Conversion:
    match field_type:
        case msgspec.inspect.StrType():
            return lambda value, _: check_text(path, as_text(path, value), limits)
        case msgspec.inspect.IntType():
            return lambda value, _: check_number(path, as_integer(path, value), limits)
        case msgspec.inspect.FloatType():
            return lambda value, _: check_number(path, as_number(path, value), limits)
        case msgspec.inspect.BoolType():
            # FullStory's default is false, and an explicit false has been seen to count as true.
            return lambda value, _: as_boolean(path, value) or msgspec.UNSET
        case msgspec.inspect.DateTimeType():
            return lambda value, zone: as_moment(path, value, zone)
    raise TypeError(f"No conversion to {field_type} is known ({path}).")
