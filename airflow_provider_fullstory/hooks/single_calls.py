"""
Calls about one user or event, from the arguments of a hook's methods.

Values are converted and checked before anything is sent. The modules that do so are imported here when a
call is made: most hooks never make one.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_provider_fullstory.api import single_records
from airflow_provider_fullstory.exceptions import FullStoryInputError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping

    from airflow_provider_fullstory.api.protocol import Call
    from airflow_provider_fullstory.api.single_records import UserDetails

_MAY_HAVE: Final = "FullStory may have done the work all the same. "
_WITH_KEY: Final = (
    f"{_MAY_HAVE}The same call with the same idempotency_key does it no second time, for 24 hours."
)
_WITHOUT_KEY: Final = f"{_MAY_HAVE}No idempotency_key was given, so the same call may do it a second time."
#: As the last part of a path, these lead to other endpoints.
_NO_IDS: Final = frozenset({".", "..", "batch", "stream"})

T = TypeVar("T")


def create_user(
    *,
    uid: str | None,
    display_name: str | None,
    email: str | None,
    properties: Mapping[str, Any] | None,
    schema: Mapping[str, str] | None,
    allow_anonymous: bool,
    drop_invalid_properties: bool,
    idempotency_key: str | None,
) -> Call[str]:
    """Return the call that creates a user, or changes the one with its uid."""
    from airflow_provider_fullstory.records.single import user_body

    body = user_body(
        {"uid": uid, "display_name": display_name, "email": email, "properties": properties},
        schema,
        allow_anonymous=allow_anonymous,
        drop_invalid_properties=drop_invalid_properties,
    )
    return _keyed(single_records.create_user, body, idempotency_key)


def update_user(
    user_id: str,
    *,
    uid: str | None,
    display_name: str | None,
    email: str | None,
    properties: Mapping[str, Any] | None,
    schema: Mapping[str, str] | None,
    drop_invalid_properties: bool,
) -> Call[str]:
    """Return the call that changes a user."""
    from airflow_provider_fullstory.records.single import user_body

    body = user_body(
        {"uid": uid, "display_name": display_name, "email": email, "properties": properties},
        schema,
        allow_anonymous=True,
        drop_invalid_properties=drop_invalid_properties,
    )
    if body == b"{}":
        raise FullStoryInputError("The user was not updated: nothing is given that could change.")
    return single_records.update_user(_id(user_id), body)


def get_user(user_id: str, *, include_schema: bool) -> Call[UserDetails]:
    """Return the call that reads a user."""
    return single_records.get_user(_id(user_id), include_schema=include_schema)


def wanted_users(*, is_identified: bool | None, **fields: str | None) -> dict[str, str]:
    """Return what users are listed by."""
    from airflow_provider_fullstory.records.single import user_field

    wanted = {name: user_field(name, value) for name, value in fields.items() if value is not None}
    if is_identified is not None:
        if not isinstance(is_identified, bool):
            # Of a template, even the text "False" would count as true.
            given = type(is_identified).__name__
            raise FullStoryInputError(f"is_identified must be True or False, not {given}. Nothing was sent.")
        wanted["is_identified"] = "true" if is_identified else "false"
    return wanted


def delete_user(user_id: str | None, uid: str | None) -> Call[None]:
    """Return the call that deletes a user, by one of its ids."""
    from airflow_provider_fullstory.records.single import user_field

    if (user_id is None) == (uid is None):
        raise FullStoryInputError("No user was deleted: give either id or uid.")
    if user_id is not None:
        return single_records.delete_user(_id(user_id))
    return single_records.delete_user_by_uid(user_field("uid", uid))


def create_event(
    name: str,
    *,
    timestamp: datetime.datetime | str | None,
    user: Mapping[str, Any] | None,
    session: Mapping[str, Any] | None,
    context: Mapping[str, Any] | None,
    properties: Mapping[str, Any] | None,
    schema: Mapping[str, str] | None,
    page_properties: Mapping[str, Any] | None,
    page_properties_schema: Mapping[str, str] | None,
    allow_anonymous: bool,
    idempotency_key: str | None,
) -> Call[None]:
    """Return the call that creates an event."""
    from airflow_provider_fullstory.records.single import event_body

    fields: dict[str, Any] = {
        "name": name,
        "timestamp": timestamp,
        "user": user,
        "session": session,
        "context": context,
        "properties": properties,
        "page_properties": page_properties,
    }
    body = event_body(fields, schema, page_properties_schema, allow_anonymous=allow_anonymous)
    return _keyed(single_records.create_event, body, idempotency_key)


def _id(given: str) -> str:
    from airflow_provider_fullstory.records.single import user_field

    user_id = user_field("id", given)
    if user_id in _NO_IDS:
        raise FullStoryInputError(f"Nothing was sent: the id {user_id!r} leads to another endpoint.")
    return user_id


def _keyed(create: Callable[[bytes, str], Call[T]], body: bytes, key: str | None) -> Call[T]:
    call = create(body, _key(key))
    return dataclasses.replace(call, in_doubt=_WITHOUT_KEY if key is None else _WITH_KEY)


def _key(given: str | None) -> str:
    if given is None:
        return str(uuid.uuid4())
    if (
        isinstance(given, str)
        and given
        and given.isascii()
        and given.isprintable()
        and given == given.strip()
    ):
        return given
    raise FullStoryInputError(
        "Nothing was sent: the idempotency_key must be text of visible ASCII characters, such as a UUID."
    )
