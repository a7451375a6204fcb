"""Which values JSON and FullStory's types can hold."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.records.rules import MIXED_ARRAY

if TYPE_CHECKING:
    from collections.abc import Sequence

_SMALLEST_INTEGER: Final = -(2**63)
_LARGEST_INTEGER: Final = 2**63 - 1
_LARGEST_REAL: Final = Decimal("1.7976931348623157e308")


def is_utf8(text: str) -> bool:
    """
    Return whether text has a UTF-8 form.

    :param text: The text; several texts can be joined and checked together.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits_64_bits(number: int) -> bool:
    """Return whether readers of JSON can be expected to keep an integer."""
    return _SMALLEST_INTEGER <= number <= _LARGEST_INTEGER


def is_json_number(value: Any) -> bool:
    """Return whether a value is a number that a reader of JSON can take for a real."""
    if isinstance(value, bool):
        return False
    if isinstance(value, Decimal):
        # copy_abs, unlike abs, does not round, which fails for huge exponents.
        return value.is_finite() and value.copy_abs() <= _LARGEST_REAL
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and fits_64_bits(value)


def are_json_numbers(values: Sequence[Decimal]) -> bool:
    """
    Return whether all Decimals are such numbers, and none is the zero below zero.

    Checking them together is much faster than one by one.

    :param values: The Decimals, at least one.
    """
    return (
        all(map(Decimal.is_finite, values))
        and max(map(Decimal.copy_abs, values)) <= _LARGEST_REAL
        and (all(values) or not any(not value and value.is_signed() for value in values))
    )


def check_elements(field: str, elements: Sequence[Any]) -> None:
    """
    Refuse an array that holds several kinds of values: an array of FullStory's has one type.

    :raises ValueRefusedError: If they are of several kinds.
    """
    kinds = {_kind(element) for element in elements}
    if len(kinds) > 1:
        raise MIXED_ARRAY.broken(field=field, kind=" and ".join(sorted(kinds)))


def _kind(element: Any) -> str:
    if isinstance(element, bool):
        return "truth values"
    return "numbers" if isinstance(element, (int, float, Decimal)) else "text or dates"
