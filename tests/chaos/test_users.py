"""Whether what was sent of users is what it should be."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.users import user_differences


def user(number: int, version: int) -> dict[str, Any]:
    return {"uid": f"user-{number}", "properties": {"version": version}}


EXPECTED = {"user-1": [user(1, 1)], "user-2": [user(2, 1), user(2, 2)]}


@pytest.mark.parametrize(
    "sent",
    [
        [user(1, 1), user(2, 1), user(2, 2)],
        # A run that began late has seen only the last version.
        [user(2, 2), user(1, 1)],
    ],
)
def test_each_change_that_was_seen_is_sent_once(sent: list[dict[str, Any]]) -> None:
    assert not user_differences(EXPECTED, sent)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ([user(2, 2)], "1 lost (such as 1)"),
        ([user(1, 1), user(2, 1)], "1 lost (such as 2)"),
        ([user(1, 1), user(2, 2), user(2, 1)], "1 lost (such as 2)"),
        ([user(1, 1), user(2, 2), user(1, 1)], "1 doubled (such as 1)"),
        ([user(1, 1), user(2, 2), user(3, 1)], "1 altered (such as 3)"),
        ([user(1, 1), user(2, 3), user(2, 2)], "1 altered (such as 2)"),
        ([], "2 lost (such as 1, 2)"),
    ],
)
def test_every_difference_is_found(sent: list[dict[str, Any]], found: str) -> None:
    assert str(user_differences(EXPECTED, sent)) == found
