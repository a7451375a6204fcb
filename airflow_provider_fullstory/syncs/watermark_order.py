"""The order of the values of a column: which is the highest, and which lie in the future."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.timestamps import is_timestamp, parsed
from airflow_provider_fullstory.syncs.watermark_values import (
    TYPES,
    in_utc,
    is_missing,
    restored,
    unwrapped_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.syncs.record import StoredValue

#: Types whose values are what they seem to be, and can be compared.
_PLAIN: Final = frozenset({int, str, bytes, datetime.date, datetime.datetime})
_DAY: Final = datetime.timedelta(days=1)
#: Clocks are not set twice within it.
_TWO_DAYS: Final = datetime.timedelta(days=2)


def given_values(values: Sequence[Any]) -> Sequence[Any]:
    """
    Return plain values that can be compared, without those that are no watermark of their row.

    :param values: Values of a column, as the driver gave them.
    """
    types = set(map(type, values))
    if type(None) in types:
        types.remove(type(None))
        values = [value for value in values if value is not None]
    if types <= _PLAIN:
        return values
    if types == {Decimal}:
        return list(filter(Decimal.is_finite, values))
    if types == {float}:
        return list(filter(math.isfinite, values))
    return [value for value in map(unwrapped_value, values) if not is_missing(value)]


def highest_of(values: Sequence[Any]) -> Any:
    """
    Return the highest of some values; of timestamps with a time zone, the latest instant in UTC.

    :param values: Values of one type.
    :raises TypeError: If some of them have a time zone and some have none.
    """
    highest = max(values)
    if not isinstance(highest, datetime.datetime) or highest.tzinfo is None:
        return highest
    if {type(value.tzinfo) for value in values} == {datetime.timezone}:
        return in_utc(highest)
    if len({id(value.tzinfo) for value in values}) > 1:
        return max(map(in_utc, values))
    # Python compares local times within one zone, also where clocks are set back.
    start = highest - _TWO_DAYS
    if start.utcoffset() == highest.replace(fold=0).utcoffset() == highest.replace(fold=1).utcoffset():
        return in_utc(highest)
    return max(in_utc(value) for value in values if value > start)


def higher(first: StoredValue | None, second: StoredValue | None, column: str) -> StoredValue | None:
    """
    Return the higher one of two stored values, or the one that there is.

    :param first: A value; it is returned where both are equal.
    :param second: Another one.
    :param column: Their column, for the message of an error.
    :raises FullStoryInputError: If they are of different types.
    """
    if first is None or second is None:
        return second if first is None else first
    if first.type != second.type:
        raise FullStoryInputError(
            f"Of the values {first.value!r} and {second.value!r} of column {column!r}, the watermark, none "
            f"is the higher one: one is a {TYPES.get(first.type, first.type)}, the other one a "
            f"{TYPES.get(second.type, second.type)}. Set the watermark: fullstory-sync set."
        )
    return second if restored(second) > restored(first) else first


def is_in_the_future(value: Any, zone: datetime.tzinfo) -> bool:
    """
    Return whether a value is a timestamp or a date, as text too, more than a day from now.

    :param value: The value.
    :param zone: The zone of timestamps without a time zone.
    """
    if isinstance(value, str) and is_timestamp(value):
        value = parsed(value)
    limit = datetime.datetime.now(datetime.UTC) + _DAY
    if isinstance(value, datetime.datetime):
        now = limit if value.tzinfo is not None else limit.astimezone(zone).replace(tzinfo=None)
        return value > now
    return isinstance(value, datetime.date) and value > limit.astimezone(zone).date()
