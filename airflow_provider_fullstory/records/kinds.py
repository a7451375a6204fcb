"""
The kinds of records that FullStory imports.

What FullStory takes for each is here, with its source, and nowhere else.
"""

from __future__ import annotations

import re
from typing import Final

from airflow_provider_fullstory.api.events import Event, Shared
from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.api.users import User
from airflow_provider_fullstory.records.kind import Identity, RecordKind, RequiredField
from airflow_provider_fullstory.records.limits import Limits, PropertyLimits
from airflow_provider_fullstory.records.refusals import INVALID_ARGUMENT, INVALID_PARAMETER, REQUIRED_FIELD
from airflow_provider_fullstory.records.rules import Rule

_SOURCE: Final = "developer.fullstory.com/server/events/create-batch-events-import-job"
_IDENTIFICATION: Final = "developer.fullstory.com/server/events/introduction"
_USERS_SOURCE: Final = "developer.fullstory.com/server/users/create-batch-user-import-job"

SESSION_URL: Final = Rule(
    INVALID_PARAMETER,
    "{field} is the URL of a session; the id is its part after /session/, decoded to UserId:SessionId",
    _SOURCE,
)
NO_TIMESTAMP: Final = Rule(
    REQUIRED_FIELD,
    "timestamp is NULL, so FullStory would take the time of the import; "
    "set allow_missing_timestamp=True if that is wanted",
    _SOURCE,
)
NO_NAME: Final = Rule(REQUIRED_FIELD, "name is missing; fill the column 'name' or set event_name", _SOURCE)
TWO_USERS: Final = Rule(
    INVALID_ARGUMENT, "user.uid and user.id are both given; FullStory takes one of them", _IDENTIFICATION
)
TWO_SESSIONS: Final = Rule(
    INVALID_ARGUMENT,
    "more than one of session.id, session.uid and session.use_most_recent is given; FullStory takes one",
    _IDENTIFICATION,
)
USER_AND_SESSION: Final = Rule(
    INVALID_ARGUMENT,
    "a user and a session's id are both given; the session says who the user is, so leave out the user",
    _IDENTIFICATION,
)
RECENT_SESSION_OF_NOBODY: Final = Rule(
    REQUIRED_FIELD, "session.use_most_recent needs user.uid or user.id, which is missing", _IDENTIFICATION
)
ANONYMOUS: Final = Rule(
    REQUIRED_FIELD,
    "neither a user nor a session is given, so FullStory would create an anonymous user; "
    "set allow_anonymous=True if that is wanted",
    _IDENTIFICATION,
)

ANONYMOUS_USER: Final = Rule(
    REQUIRED_FIELD,
    "neither uid nor id is given, so FullStory would create an anonymous user each time it is sent; "
    "select your own id of the user AS uid, or set allow_anonymous=True if that is wanted",
    _USERS_SOURCE,
)


def _broken_identity(given: frozenset[str]) -> Rule | None:
    users = given & {"user.uid", "user.id"}
    sessions = given - users
    if len(users) > 1:
        return TWO_USERS
    if len(sessions) > 1:
        return TWO_SESSIONS
    if "session.use_most_recent" in sessions:
        return None if users else RECENT_SESSION_OF_NOBODY
    if users and sessions:
        return USER_AND_SESSION
    return None if given else ANONYMOUS


_PIXELS: Final = Limits(_SOURCE, lowest=-(2**31), highest=2**31 - 1)

EVENTS: Final = RecordKind(
    resource=Resource.EVENTS,
    noun="event",
    struct=Event,
    shared=Shared,
    property_roots={"properties": "schema", "page_properties": "page_properties_schema"},
    limits={
        "name": Limits(_SOURCE, shortest=1),
        "user.uid": Limits(_SOURCE, shortest=1, longest=256, is_id=True),
        "user.id": Limits(_SOURCE, shortest=1, is_id=True),
        "session.id": Limits(
            _SOURCE,
            shortest=1,
            form=re.compile(r"[^\s:/?#%]+:[^\s:/?#%]+"),
            form_name="UserId:SessionId",
            is_id=True,
            url_rule=SESSION_URL,
        ),
        "session.uid": Limits(_SOURCE, shortest=1, longest=256, is_id=True),
        "context.device.screen_width": _PIXELS,
        "context.device.screen_height": _PIXELS,
        "context.device.viewport_width": _PIXELS,
        "context.device.viewport_height": _PIXELS,
        "context.location.country": Limits(
            _SOURCE, form=re.compile("[A-Za-z]{2}"), form_name="a country of two letters (ISO 3166-1 alpha-2)"
        ),
        "context.location.latitude": Limits(_SOURCE, lowest=-90, highest=90),
        "context.location.longitude": Limits(_SOURCE, lowest=-180, highest=180),
    },
    identity=Identity(
        ("user.uid", "user.id", "session.id", "session.uid", "session.use_most_recent"),
        _broken_identity,
        ANONYMOUS,
    ),
    name=RequiredField("name", NO_NAME),
    timestamp=RequiredField("timestamp", NO_TIMESTAMP),
    counts_against_quota=True,
)

USERS: Final = RecordKind(
    resource=Resource.USERS,
    noun="user",
    struct=User,
    property_roots={"properties": "schema"},
    limits={
        "id": Limits(_USERS_SOURCE, shortest=1, is_id=True),
        "uid": Limits(_USERS_SOURCE, shortest=1, longest=256, is_id=True),
        "display_name": Limits(_USERS_SOURCE, longest=256),
        "email": Limits(_USERS_SOURCE, longest=128),
    },
    property_limits=PropertyLimits(_USERS_SOURCE, most=500, longest_bytes=8_192),
    identity=Identity(("uid", "id"), lambda given: None if given else ANONYMOUS_USER, ANONYMOUS_USER),
    upsert_key=("uid", "id"),
)

#: All kinds by their resource.
KINDS: Final = {kind.resource: kind for kind in (EVENTS, USERS)}


def kind_of(resource: str) -> RecordKind:
    """Return the kind of the records of an import."""
    return KINDS[Resource(resource)]
