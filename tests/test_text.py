"""Words for a person."""

from __future__ import annotations

import pytest

from airflow_provider_fullstory.text import some


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2 and 1 more"), (9, "0, 1, 2 and 6 more")],
)
def test_a_list_in_a_message_is_cut(count: int, text: str) -> None:
    assert some([str(number) for number in range(count)], most=3) == text
