"""
The rules for an event and for a user.

Types, lengths and allowed fields are declared; functions check the rules between fields. It is unknown which
rules FullStory checks when it reads a request, and which when it processes the batch. Here a broken rule
rejects only its record.

Unknown: what becomes of a field that the API does not have. Here its record is rejected, so that a misspelt
field cannot lose data silently. Null means absent, as usual for this kind of API.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from airflow_provider_fullstory.emulator.rules.properties import (
    RecordError,
    Schema,
    check_declared_types,
    check_properties,
    is_iso_date,
    kept_properties,
)

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_SHARED_FIELDS = ("user", "session", "context", "page_properties", "page_properties_schema")

Identifier = Annotated[str, msgspec.Meta(max_length=256)]
SmallInteger = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
Country = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{2}\Z")]


class _Object(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    pass


class _User(_Object):
    uid: Identifier | None = None
    id: str | None = None


class _Session(_Object):
    id: str | None = None
    use_most_recent: bool | None = None
    uid: Identifier | None = None


class _Browser(_Object):
    url: str | None = None
    user_agent: str | None = None
    initial_referrer: str | None = None


class _Mobile(_Object):
    app_id: str | None = None
    app_version: str | None = None
    app_name: str | None = None
    build_variant: str | None = None


class _Device(_Object):
    manufacturer: str | None = None
    model: str | None = None
    screen_width: SmallInteger | None = None
    screen_height: SmallInteger | None = None
    viewport_width: SmallInteger | None = None
    viewport_height: SmallInteger | None = None


class _Location(_Object):
    country: Country | None = None
    region: str | None = None
    city: str | None = None
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None
    ip_address: str | None = None


class _Context(_Object):
    browser: _Browser | None = None
    mobile: _Mobile | None = None
    device: _Device | None = None
    location: _Location | None = None


class Shared(_Object):
    """Hold the fields that all events of a request share."""

    user: _User | None = None
    session: _Session | None = None
    context: _Context | None = None
    page_properties: dict[str, object] | None = None
    page_properties_schema: Schema | None = None


class Event(Shared):
    """Hold an event as the API accepts it."""

    name: str | None = None
    timestamp: str | None = None
    properties: dict[str, object] | None = None
    schema: Schema | None = None


class NewUser(_Object):
    """Hold a user as the API accepts it outside a batch, where FullStory assigns the ``id``."""

    uid: Identifier | None = None
    display_name: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    email: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    properties: dict[str, msgspec.Raw] | None = None
    schema: Schema | None = None


class User(NewUser):
    """Hold a user as the API accepts it in a batch."""

    id: str | None = None


def check_event(event: Event, shared: Shared | None) -> None:
    """
    Check an event against all rules, given the request's ``shared`` object, which is already checked.

    :raises RecordError: If the event breaks a rule.
    """
    if event.name is None:
        raise RecordError("required_field", "name is required")
    if not event.name:
        raise RecordError("invalid_argument", "events must have a non-empty name")
    if event.timestamp is not None:
        check_timestamp(event.timestamp, "timestamp")
    if event.properties is not None:
        check_properties(event.properties, "properties")
        check_declared_types(event.properties, event.schema, "properties")
    check_shared(event)
    if shared is None:
        _check_identity(event.user, event.session)
    else:
        _check_conflicts(event, shared)
        _check_identity(event.user or shared.user, event.session or shared.session)


def check_shared(shared: Shared) -> None:
    """
    Check the fields that an event and ``shared`` have in common, in either of them.

    :raises RecordError: If a field breaks a rule.
    """
    if shared.user is not None:
        _check_user_reference(shared.user)
    if shared.session is not None:
        _check_not_empty(shared.session.uid, "session.uid")
    if shared.page_properties is not None:
        check_properties(shared.page_properties, "page_properties")
        check_declared_types(shared.page_properties, shared.page_properties_schema, "page_properties")


def check_user(user: NewUser) -> None:
    """
    Check a user against all rules, without the properties that are dropped.

    :raises RecordError: If the user breaks a rule.
    """
    _check_not_empty(user.uid, "uid")
    if user.properties is not None:
        kept = msgspec.json.decode(msgspec.json.encode(kept_properties(user.properties)))
        check_properties(kept, "properties")
        check_declared_types(kept, user.schema, "properties")


def check_timestamp(timestamp: str, name: str) -> None:
    """
    Check a point in time.

    :param name: Name of its field.
    :raises RecordError: If it is none.
    """
    # The contract says "ISO 8601" and no more. Unknown: whether a timestamp without an offset, or a date
    # alone, is accepted. Here both are rejected, since FullStory would have to guess.
    if not _DATE_TIME.fullmatch(timestamp) or not is_iso_date(timestamp):
        raise RecordError("invalid_argument", f"{name} must be ISO 8601 with an offset: 2022-03-15T14:23:23Z")


def _check_not_empty(identifier: str | None, path: str) -> None:
    if identifier == "":
        raise RecordError("invalid_parameter", f"The provided {path} parameter can not be empty")


def _check_user_reference(user: _User) -> None:
    _check_not_empty(user.uid, "user.uid")
    if user.id is not None and user.uid is not None:
        raise RecordError("invalid_argument", "only one of user.id and user.uid may be given")
    # Unknown: whether an empty user means an anonymous one. Here it counts as a lost identifier.
    if not user.id and user.uid is None:
        raise RecordError("required_field", "one of user.id and user.uid is required")


def _check_conflicts(event: Event, shared: Shared) -> None:
    # Documented for context only. Unknown: whether other shared fields conflict too. Here all of them do.
    for name in _SHARED_FIELDS:
        if getattr(event, name) is not None and getattr(shared, name) is not None:
            raise RecordError("invalid_argument", f"{name} must not be given in the event and in shared")


def _check_identity(user: _User | None, session: _Session | None) -> None:
    """Check that an event is identified once (developer.fullstory.com/server/events/introduction)."""
    if session is None:
        return
    if session.use_most_recent and user is None:
        raise RecordError("required_field", "user is required when session.use_most_recent is true")
    # Unknown: whether session.uid, which is newer than this rule, excludes a user too. Here it does.
    forms = (session.id is not None) + (session.uid is not None) + (user is not None)
    if forms > 1 and (session.id is not None or session.uid is not None):
        raise RecordError("invalid_argument", "an event must have only one form of identification")
