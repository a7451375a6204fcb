from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from month.comparison import compare, compare_users, unchanged
from month.customers import Profile
from month.table import REJECTED_NOTE
from month.warehouse import Version


def version(number: int, committed: int = 1, **values: Any) -> Version:
    given = {"customer_id": "c", "amount": Decimal("1.5"), "note": None} | values
    return Version(number, updated_at=datetime(2026, 3, 1, number, tzinfo=UTC), committed=committed, **given)


VERSIONS = [version(number) for number in range(1, 4)]
EVENTS = [each.event() for each in VERSIONS]


def test_equal_records_in_any_order_are_no_difference() -> None:
    differences = compare(VERSIONS, reversed(EVENTS), seen=1)
    assert not differences
    assert differences.compared == 3


@pytest.mark.parametrize(
    ("imported", "found"),
    [
        ([*EVENTS[:2]], "1 missing (such as record 3 of 2026-03-01 03:00:00+00:00)"),
        ([*EVENTS, EVENTS[0]], "1 doubled (such as record 1 of 2026-03-01 01:00:00+00:00)"),
        ([*EVENTS[:2], EVENTS[2] | {"name": "other"}], "1 altered (such as record 3 of"),
        ([*EVENTS, version(4).event()], "1 surplus (such as record 4 of"),
    ],
)
def test_every_difference_is_found(imported: list[dict[str, Any]], found: str) -> None:
    assert str(compare(VERSIONS, imported, seen=1)).startswith(found)


def test_what_no_green_run_has_seen_may_be_there_once() -> None:
    late = version(4, committed=2)
    assert not compare([*VERSIONS, late], EVENTS, seen=1)
    assert not compare([*VERSIONS, late], [*EVENTS, late.event()], seen=1)
    assert compare([*VERSIONS, late], [*EVENTS, late.event(), late.event()], seen=1).doubled
    assert compare([*VERSIONS, late], EVENTS, seen=2).missing


@pytest.mark.parametrize("values", [{"customer_id": None}, {"note": REJECTED_NOTE}])
def test_what_was_refused_is_there_once_it_is_fixed(values: dict[str, Any]) -> None:
    refused = version(4, **values)
    assert not compare([refused], [], seen=1)
    refused.fixed = "done"
    assert compare([refused], [], seen=1).missing
    assert not compare([refused], [refused.event()], seen=1)
    assert refused.event()["user"]["uid"]
    assert "note" not in refused.event()["properties"]


def profile(number: int, plan: str, committed: int, **values: Any) -> Profile:
    moment = datetime(2026, 3, 1, committed, tzinfo=UTC)
    return Profile(number, plan, seats=3, updated_at=moment, committed=committed, **values)


#: A customer who changed to another plan and back, and two who did not change.
PROFILES = [
    profile(1, "free", 1),
    profile(2, "free", 1),
    profile(3, "free", 1),
    profile(1, "pro", 2),
    profile(1, "free", 3),
]
USERS = [each.user() for each in (PROFILES[4], *PROFILES[1:3])]
PRO = PROFILES[3].user()


def test_equal_users_in_any_order_are_no_difference() -> None:
    differences = compare_users(PROFILES, reversed(USERS), seen=3)
    assert not differences
    assert differences.compared == 3


@pytest.mark.parametrize(
    ("imported", "found"),
    [
        (USERS[1:], "1 missing (such as user customer-1)"),
        ([PRO, *USERS[1:]], "1 outdated (such as user customer-1)"),
        ([*USERS[:2], USERS[2] | {"email": "other"}], "1 altered (such as user customer-3)"),
        ([*USERS[:2], USERS[2] | {"properties": {"plan": "free"}}], "1 altered (such as user customer-3)"),
        ([*USERS, profile(4, "free", 1).user()], "1 surplus (such as user customer-4)"),
        ([*USERS, {"email": "1@example.com"}], "1 surplus (such as user nobody)"),
    ],
    ids=["lost", "left as it was", "another email", "a property lost", "made up", "anonymous"],
)
def test_every_difference_of_users_is_found(imported: list[dict[str, Any]], found: str) -> None:
    assert str(compare_users(PROFILES, imported, seen=3)) == found


def test_users_may_be_ahead_of_what_a_green_run_has_seen_and_not_behind() -> None:
    assert not compare_users(PROFILES, [PRO, *USERS[1:]], seen=2)
    # The plan before was the same, so that what is ahead looks like what is behind.
    assert not compare_users(PROFILES, USERS, seen=2)
    assert not compare_users(PROFILES, [], seen=0)
    later = profile(2, "pro", 4)
    assert not compare_users([*PROFILES, later], [USERS[0], later.user(), USERS[2]], seen=3)
    assert not compare_users([*PROFILES, later], USERS, seen=3)
    assert compare_users([*PROFILES, later], USERS, seen=4).outdated


@pytest.mark.parametrize("values", [{"has_uid": False}, {"note": REJECTED_NOTE}])
def test_a_refused_version_changes_no_user(values: dict[str, Any]) -> None:
    refused = profile(2, "pro", 4, **values)
    assert not compare_users([*PROFILES, refused], USERS, seen=4)
    assert compare_users([*PROFILES, refused], [USERS[0], refused.user(), USERS[2]], seen=4).altered
    only = profile(5, "free", 4, **values)
    assert not compare_users([*PROFILES, only], USERS, seen=4)
    assert compare_users([*PROFILES, only], [*USERS, only.user()], seen=4).surplus


@pytest.mark.parametrize("values", [{"has_uid": False}, {"note": REJECTED_NOTE}])
def test_a_version_may_be_refused_before_the_one_that_it_replaces_was_read(values: dict[str, Any]) -> None:
    new = profile(5, "free", 4)
    changed = profile(2, "pro", 4)
    assert compare_users([*PROFILES, new, changed], USERS, seen=4).missing
    # Committed after what a run must have seen, and before it read.
    replaced = [profile(5, "pro", 5, **values), profile(2, "free", 5, **values)]
    assert not compare_users([*PROFILES, new, changed, *replaced], USERS, seen=4)


def test_a_user_who_is_sent_as_before_is_found() -> None:
    assert unchanged([USERS[0], USERS[1], PRO, USERS[0]]) == []
    assert unchanged([USERS[0], USERS[1], USERS[0], PRO, PRO]) == ["user customer-1"] * 2
