"""The endpoints that take or give users and events one by one, without a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta

from airflow_provider_fullstory.api.http import Request
from airflow_provider_fullstory.api.jobs import Page
from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS, Call
from airflow_provider_fullstory.api.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MISSING: Final = "No such user in this organization: check the id, and the connection."

T = TypeVar("T")


class UserDetails(msgspec.Struct, frozen=True):
    """
    A user as FullStory has it; ``msgspec.to_builtins`` makes a dict of it, which an XCom can hold.

    ``id`` is FullStory's own, ``uid`` the application's: None for an anonymous user. ``schema`` and
    ``type_conflicts`` are there if they were asked for. ``app_url`` leads to the user in FullStory. What is
    empty there is None.
    """

    id: str
    uid: str | None = None
    display_name: str | None = None
    email: str | None = None
    is_being_deleted: bool = False
    properties: dict[str, Any] | None = None
    schema: dict[str, Any] | None = None
    type_conflicts: Any = None
    app_url: str | None = None


class _UsersPage(msgspec.Struct, frozen=True):
    results: list[dict[str, Any]] | None = None
    total_records: int | None = None
    next_page_token: str | None = None


class _UserId(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(min_length=1)]


class _Nothing(msgspec.Struct, frozen=True):
    pass


def create_user(body: bytes, idempotency_key: str) -> Call[str]:
    """Create a user, or change the one with its uid; FullStory answers with the user's id."""
    return Call(
        _post("/v2/users", body, idempotency_key),
        _user_id,
        "create a user",
        repeatable_for=IDEMPOTENCY_SECONDS,
    )


def get_user(user_id: str, *, include_schema: bool = False) -> Call[UserDetails]:
    """Read a user; needs an Architect key."""
    return Call(
        Request("GET", _user_path(user_id), _include_schema(include_schema)),
        lambda content: _user(_reader(dict[str, Any])(content)),
        f"read user {quoted(user_id)!r}",
        level="Architect",
        missing=_MISSING,
    )


def users_page(
    wanted: Mapping[str, str], page_token: str | None = None, *, include_schema: bool = False
) -> Call[Page[UserDetails]]:
    """
    Read a page of users; needs an Architect key.

    :param wanted: Field -> the value that users have there, and ``is_identified``: ``true`` or ``false``.
    :param page_token: Leads to the page; None for the first.
    :param include_schema: Whether users come with the types of their properties.
    """
    token = {"page_token": page_token} if page_token else {}
    return Call(
        Request("GET", "/v2/users", {**wanted, **token, **_include_schema(include_schema)}),
        _users_page,
        "list users",
        level="Architect",
    )


def update_user(user_id: str, body: bytes) -> Call[str]:
    """
    Change a user; FullStory answers with the user's id.

    FullStory takes no idempotency key for it, so a request that may have arrived is never sent again.
    """
    return Call(
        _post(_user_path(user_id), body),
        _user_id,
        f"update user {quoted(user_id)!r}",
        repeatable_for=0.0,
        missing=_MISSING,
    )


def delete_user(user_id: str) -> Call[None]:
    """Delete a user by FullStory's id; needs an Architect key. It is sent again as an update is."""
    return _delete(Request("DELETE", _user_path(user_id)), f"delete user {quoted(user_id)!r}")


def delete_user_by_uid(uid: str) -> Call[None]:
    """Delete a user by the application's id; needs an Architect key. It is sent again as an update is."""
    # Messages do not show the uid, which may be somebody's email address.
    return _delete(Request("DELETE", "/v2/users", {"uid": uid}), "delete the user with the given uid")


def create_event(body: bytes, idempotency_key: str) -> Call[None]:
    """Create an event."""
    return Call(
        _post("/v2/events", body, idempotency_key),
        _nothing,
        "create an event",
        repeatable_for=IDEMPOTENCY_SECONDS,
    )


def _delete(request: Request, purpose: str) -> Call[None]:
    return Call(request, _nothing, purpose, level="Architect", repeatable_for=0.0, missing=_MISSING)


def _post(path: str, body: bytes, idempotency_key: str | None = None) -> Request:
    key = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    return Request("POST", path, headers={"Content-Type": "application/json", **key}, body=body)


def _user_path(user_id: str) -> str:
    return f"/v2/users/{quote(user_id, safe='')}"


def _include_schema(is_wanted: bool) -> dict[str, str]:
    return {"include_schema": "true"} if is_wanted else {}


def _reader(wire_type: type[T]) -> Callable[[bytes], T]:
    # Not the decoder of jobs: what it reads is for people, who expect the numbers of Python.
    return msgspec.json.Decoder(wire_type, strict=False).decode


def _user(fields: Mapping[str, Any]) -> UserDetails:
    # It is not documented whether a field that is empty is null, empty text, or left out.
    given = {name: value for name, value in fields.items() if value is not None and value != ""}
    return msgspec.convert(given, UserDetails, strict=False)


def _users_page(content: bytes) -> Page[UserDetails]:
    page = _reader(_UsersPage)(content)
    return Page([_user(fields) for fields in page.results or ()], page.total_records, page.next_page_token)


def _user_id(content: bytes) -> str:
    return _reader(_UserId)(content).id


def _nothing(content: bytes) -> None:
    # Read nevertheless: the page of a proxy is no answer.
    _reader(_Nothing)(content)
