"""The endpoints of single users and events."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.api import single_records
from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS, Call
from tests.api.answers import SAID, answer

CREATE_USER = single_records.create_user(b"{}", "k")
CREATE_EVENT = single_records.create_event(b"{}", "k")
GET_USER = single_records.get_user("a/b=")
LIST_USERS = single_records.users_page({"uid": "u"})
UPDATE_USER = single_records.update_user("a/b=", b"{}")
DELETE_USER = single_records.delete_user("a/b=")
DELETE_USER_BY_UID = single_records.delete_user_by_uid("u@example.com")


@pytest.mark.parametrize(
    ("call", "repeatable_for", "key", "level"),
    [
        (CREATE_USER, IDEMPOTENCY_SECONDS, "k", "Standard"),
        (CREATE_EVENT, IDEMPOTENCY_SECONDS, "k", "Standard"),
        (GET_USER, math.inf, None, "Architect"),
        (LIST_USERS, math.inf, None, "Architect"),
        (UPDATE_USER, 0.0, None, "Standard"),
        (DELETE_USER, 0.0, None, "Architect"),
        (DELETE_USER_BY_UID, 0.0, None, "Architect"),
    ],
    ids=lambda value: value.purpose if isinstance(value, Call) else None,
)
def test_a_call_says_how_long_it_may_be_repeated_and_which_key_it_takes(
    call: Call[Any], repeatable_for: float, key: str | None, level: str
) -> None:
    assert call.repeatable_for == repeatable_for
    assert call.request.headers.get("Idempotency-Key") == key
    assert call.level == level


def test_an_id_is_one_part_of_the_path() -> None:
    for call in (GET_USER, UPDATE_USER, DELETE_USER):
        assert call.request.path == "/v2/users/a%2Fb%3D"


def test_a_user_is_read_with_the_numbers_of_python() -> None:
    body = b"""{"id": "1", "uid": "u", "is_being_deleted": true, "properties": {"a": 1.50, "b": 2},
        "schema": null, "type_conflicts": null, "new_field": 1}"""

    user = answer(200, body, GET_USER)

    assert (user.id, user.uid, user.email, user.is_being_deleted) == ("1", "u", None, True)
    assert user.properties == {"a": 1.5, "b": 2}
    assert type(user.properties["a"]) is float


@pytest.mark.parametrize("empty", [None, ""])
def test_what_is_empty_of_a_user_is_none_whether_or_not_the_answer_has_it(empty: str | None) -> None:
    names = ("uid", "display_name", "email", "is_being_deleted", "properties", "schema", "app_url")
    body = json.dumps({"id": "1"} | dict.fromkeys(names, empty))

    user = answer(200, body.encode(), GET_USER)

    assert user == single_records.UserDetails("1")
    page = answer(200, f'{{"results": [{body}]}}'.encode(), LIST_USERS)
    assert page.results == [user]
    assert answer(200, b'{"results": null}', LIST_USERS).results == []


@pytest.mark.parametrize("body", [b"{}", b'{"id": ""}', b'{"id": "1", "uid": 5}', b"[]"])
def test_what_is_no_user_is_no_answer(body: bytes) -> None:
    for call, content in ((GET_USER, body), (LIST_USERS, b'{"results": [%b]}' % body)):
        with pytest.raises(exceptions.FullStoryProtocolError, match="is not FullStory's"):
            answer(200, content, call)


def test_users_come_in_pages() -> None:
    body = b'{"results": [{"id": "1"}], "total_records": "12", "next_page_token": "t"}'

    page = answer(200, body, LIST_USERS)

    assert ([user.id for user in page.results], page.total_records, page.next_page_token) == (["1"], 12, "t")
    following = single_records.users_page({"uid": "u"}, "t", include_schema=True)
    assert following.request.query == {"uid": "u", "page_token": "t", "include_schema": "true"}


@pytest.mark.parametrize("call", [CREATE_USER, UPDATE_USER])
@pytest.mark.parametrize("body", [b"{}", b'{"id": ""}', b"<html>", b""])
def test_a_user_without_an_id_is_no_answer(call: Call[Any], body: bytes) -> None:
    with pytest.raises(exceptions.FullStoryProtocolError) as caught:
        answer(200, body, call)
    assert caught.value.is_ambiguous


@pytest.mark.parametrize("call", [CREATE_EVENT, DELETE_USER, DELETE_USER_BY_UID])
def test_an_answer_that_says_nothing_is_an_object_still(call: Call[Any]) -> None:
    answer(200, b"{}", call)
    with pytest.raises(exceptions.FullStoryProtocolError, match="Check the host"):
        answer(200, b"<html>", call)


@pytest.mark.parametrize("call", [GET_USER, UPDATE_USER, DELETE_USER, DELETE_USER_BY_UID])
def test_a_user_that_is_unknown_is_not_found(call: Call[Any]) -> None:
    with pytest.raises(exceptions.FullStoryNotFoundError, match="No such user in this organization"):
        answer(404, SAID, call)


def test_a_message_names_an_id_but_no_uid() -> None:
    with pytest.raises(exceptions.FullStoryApiError, match=r"Could not delete user 'a/b=': FullStory"):
        answer(404, SAID, DELETE_USER)
    with pytest.raises(exceptions.FullStoryApiError) as caught:
        answer(404, SAID, DELETE_USER_BY_UID)
    assert "u@example.com" not in str(caught.value)


@pytest.mark.parametrize("call", [UPDATE_USER, DELETE_USER])
def test_what_has_no_key_is_not_asked_again_after_a_server_error(call: Call[Any]) -> None:
    with pytest.raises(exceptions.FullStoryServerError, match="so it is not asked again") as caught:
        answer(500, SAID, call)
    assert caught.value.is_ambiguous
