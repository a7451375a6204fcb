"""Documents that a database gives as text."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_fullstory.sources.documents import documents


def test_documents_keep_the_digits_of_their_numbers() -> None:
    assert documents(['{"n": 1.10}', None, "7", b"[1]"]) == [{"n": Decimal("1.10")}, None, 7, [1]]


def test_what_is_no_text_or_no_json_stays() -> None:
    values = [{"a": 1}, "undefined", "", "[" * 100_000, b"\xff"]
    assert documents(values) == values
