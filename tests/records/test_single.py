"""One user or event, made of arguments."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.kinds import USERS
from airflow_provider_fullstory.records.mapping import map_records
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.single import event_body, user_body, user_field
from tests.records.sending import batched, send_records

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "Zq7secret"
USER = {
    "uid": 17,
    "display_name": "Ann",
    "email": "ann@example.com",
    "properties": {
        "amount": Decimal("9.90"),
        "since": datetime.datetime(2026, 1, 31, 10, 30),  # noqa: DTZ001 - It means UTC.
        "tags": ("a", "b"),
        "address": {"city": "Atlanta", "zip": None},
    },
}
EVENT = {
    "name": "A",
    "timestamp": "2026-01-31 10:30:00+02",
    "user": {"id": 5},
    "properties": {"amount": Decimal("9.90"), "address": {"city": "Atlanta"}},
    "page_properties": {"step": 2},
}


def test_a_user_has_the_bytes_that_an_import_would_send() -> None:
    options = MappingOptions(USERS)
    [body] = batched(map_records([USER], options), options).bodies
    assert body == b'{"requests":[%b]}' % user_body(USER)


def test_an_event_has_the_bytes_that_an_import_would_send() -> None:
    [body] = send_records([EVENT], name=None).bodies
    assert body == b'{"requests":[%b]}' % event_body(EVENT)


def test_equal_arguments_are_equal_bytes() -> None:
    turned = {name: USER[name] for name in reversed(USER)}
    turned["properties"] = dict(reversed(USER["properties"].items()))  # type: ignore[attr-defined]
    assert user_body(turned) == user_body(USER)


def test_none_counts_as_missing() -> None:
    assert user_body({"uid": "u", "email": None, "properties": None}) == b'{"uid":"u"}'
    assert event_body({"name": "A", "timestamp": None, "user": {"uid": "u"}}) == (
        b'{"name":"A","user":{"uid":"u"}}'
    )


def test_types_are_declared_as_in_an_import() -> None:
    body = json.loads(user_body({"uid": "u", "properties": {"a": "x", "b": {"c": 2.0}}}, {"b.c": "real"}))
    assert body["schema"] == {"properties": {"b.c": "real"}}


@pytest.mark.parametrize(
    "make",
    [
        lambda: user_body({"uid": SECRET * 40}),
        lambda: user_body({"uid": "u", "properties": {"a": SECRET}}, {"a": "int"}),
        lambda: user_body({"uid": "u", "properties": {"a": [[SECRET]]}}),
        lambda: event_body({"name": "A", "user": {"uid": f" {SECRET}"}}),
        lambda: event_body({"name": "A", "user": {"uid": "u"}, "timestamp": SECRET}),
        lambda: user_field("uid", SECRET * 40),
        lambda: user_field("email", [SECRET]),
    ],
)
def test_a_refusal_holds_no_value(make: Callable[[], Any]) -> None:
    with pytest.raises(FullStoryInputError, match=r"was not sent|Nothing was sent") as caught:
        make()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_field_is_converted_as_in_an_import() -> None:
    assert user_field("id", 17) == "17"
    assert user_field("display_name", " Ann ") == " Ann "
