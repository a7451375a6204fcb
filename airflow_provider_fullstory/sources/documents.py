"""JSON documents that a database gives as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER

if TYPE_CHECKING:
    from collections.abc import Sequence


def document(text: str | bytes) -> Any:
    """
    Return what JSON holds; its numbers keep their digits.

    :raises ValueError: If it is not JSON.
    """
    try:
        return DECODER.decode(text)
    except (msgspec.DecodeError, ArithmeticError):
        # For example, half a pair of surrogates or an exponent of 20 digits: only its record is refused.
        return json.loads(text)


def documents(values: Sequence[Any]) -> list[Any]:
    """
    Read the documents of a column whose type is JSON.

    Text that is not JSON stays: some databases have values there that JSON lacks.

    :param values: Documents as text. What is not text was read by the driver, or is NULL, and stays too.
    """
    return [document_or_value(value) for value in values]


def document_or_value(value: Any) -> Any:
    """Return what JSON holds, and any value that is no JSON as it is."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return document(value)
    except (ValueError, RecursionError):
        return value
