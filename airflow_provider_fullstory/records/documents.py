"""JSON documents that a source gives as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.rules import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.records.refusals import Refusal


def document(text: str) -> Any:
    """
    Return what JSON holds; its numbers keep their digits.

    :param text: The JSON.
    :raises ValueError: If it is not JSON.
    """
    try:
        return DECODER.decode(str.__str__(text))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError, ArithmeticError):
        raise ValueError("text that is not JSON") from None


def documents_of(name: str, values: Sequence[Any]) -> tuple[list[Any], dict[int, Refusal]]:
    """
    Return the documents of a column, and why rows are refused, by row.

    :param name: The property's dotted name.
    :param values: Texts; what a driver has read already stays.
    """
    documents: list[Any] = []
    refusals: dict[int, Refusal] = {}
    for row, value in enumerate(values):
        try:
            documents.append(document(value) if isinstance(value, str) else value)
        except ValueError:
            documents.append(None)
            refusals[row] = rules.NOT_A_DOCUMENT.refusal(field=f"property {quoted(name)}")
    return documents, refusals
