"""The fields of users, and their rules: FullStory, as the emulator has it, takes what keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fullstory.api.jobs import MAX_BATCH_RECORDS
from airflow_provider_fullstory.emulator.rules.bodies import read_users
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.records.kinds import ANONYMOUS_USER, EVENTS, USERS
from airflow_provider_fullstory.records.mapping import map_records, map_rows, shared_part
from airflow_provider_fullstory.records.options import MappingOptions
from tests.records.sending import Sent, batched

#: Fields of a user at their limits, and beyond these.
LIMITS = [
    ("uid", "u" * 256, "u" * 257, "uid is longer than 256 characters"),
    ("uid", "ü" * 256, "ü" * 257, "uid is longer than 256 characters"),
    ("uid", "u", "", "uid is empty"),
    ("uid", "a b", " a", "uid has white space at its start or end; trim it in the query"),
    ("id", "1", "", "id is empty"),
    ("display_name", "d" * 256, "d" * 257, "display_name is longer than 256 characters"),
    ("email", "e" * 128, "e" * 129, "email is longer than 128 characters"),
]


def send(columns: list[str], *rows: tuple[Any, ...], **options: Any) -> Sent:
    """Return what is sent of rows, and of records that hold the same, which must agree."""
    made = MappingOptions(USERS, **options)
    sent = batched(map_rows(columns, [rows], made), made)
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    assert batched(map_records(records, made), made).bodies == sent.bodies
    for body in sent.bodies:
        assert read_users(body, MAX_BATCH_RECORDS).rejections == {}
    return sent


@pytest.mark.parametrize(("field", "good", "bad", "reason"), LIMITS)
def test_a_field_beyond_its_limit_refuses_its_user_alone(
    field: str, good: str, bad: str, reason: str
) -> None:
    columns = ["uid", field] if field != "uid" else ["uid"]
    good_row, bad_row = (("u", text) if field != "uid" else (text,) for text in (good, bad))

    sent = send(columns, good_row, bad_row)

    assert sent.events == [dict(zip(columns, good_row, strict=True))]
    [invalid] = sent.refused
    assert (invalid.position, invalid.refusal.code) == (2, "invalid_parameter")
    assert invalid.refusal.reason == reason
    assert invalid.record == dict(zip(columns, bad_row, strict=True))


def test_columns_go_to_the_fields_of_their_names_and_all_others_are_properties() -> None:
    columns = ["UID", "Email", "display_name", "properties.plan", "properties.address.city", "seats", "name"]

    sent = send(columns, ("u1", "a@example.com", "Ann", "pro", "Bonn", 5, "x"), ("u2", *[None] * 6))

    assert sent.events == [
        {
            "uid": "u1",
            "display_name": "Ann",
            "email": "a@example.com",
            "properties": {"address": {"city": "Bonn"}, "name": "x", "plan": "pro", "seats": 5},
            "schema": {"properties": {"seats": "int"}},
        },
        {"uid": "u2"},
    ]


def test_the_mapping_names_columns() -> None:
    sent = send(["customer", "tier"], ("u", "pro"), mapping={"uid": "CUSTOMER", "properties.plan": "tier"})

    assert sent.events == [{"uid": "u", "properties": {"plan": "pro"}}]


def test_types_are_declared_by_the_import_or_by_the_record() -> None:
    declared = {"ltv": "real", "since": "date"}
    sent = send(["uid", "ltv", "since"], ("u", 5, "2026-01-31"), schema=declared)
    assert sent.event["schema"] == {"properties": declared}

    record = {"uid": "u", "properties": {"ltv": 5}, "schema": {"properties": {"ltv": "real"}}}
    made = MappingOptions(USERS)
    assert batched(map_records([record], made), made).event == record


@pytest.mark.parametrize("columns", [["plan"], ["uid", "plan"], ["uid", "id", "plan"]])
def test_a_user_without_uid_and_id_is_refused_unless_that_is_wanted(columns: list[str]) -> None:
    rows = (*[None] * (len(columns) - 1), "pro")
    sent = send(columns, rows)
    assert (sent.code, sent.reason) == ("required_field", ANONYMOUS_USER.says)
    [invalid] = sent.refused
    assert invalid.record == {"properties": {"plan": "pro"}}

    assert send(columns, rows, allow_anonymous=True).events == [{"properties": {"plan": "pro"}}]


def test_a_user_may_have_both_uid_and_id() -> None:
    assert send(["uid", "id"], ("u", "5")).events == [{"id": "5", "uid": "u"}]


@pytest.mark.parametrize("column", ["user.uid", "session.id", "context.browser.url", "page_properties.x"])
def test_fields_of_events_are_none_of_users(column: str) -> None:
    with pytest.raises(FullStoryMappingError, match=f"users have no field '{column}'"):
        send(["uid", column], ("u", "x"))


def test_users_share_nothing_and_have_no_name() -> None:
    with pytest.raises(FullStoryInputError, match="users can share only nothing"):
        shared_part({"properties": {"a": 1}}, MappingOptions(USERS))
    with pytest.raises(FullStoryMappingError, match="users have no name"):
        send(["uid"], ("u",), name="A")


def test_only_users_are_upserted_and_only_events_count_against_the_quota() -> None:
    assert [kind.is_upserted for kind in (EVENTS, USERS)] == [False, True]
    assert [kind.counts_against_quota for kind in (EVENTS, USERS)] == [True, False]
