"""
FullStory's rules for one record as a whole.

Rules about one field stand with the wire types, rules about one value with the values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from airflow_provider_fullstory.records.refusals import INVALID_ARGUMENT, REQUIRED_FIELD, Refusal

if TYPE_CHECKING:
    from airflow_provider_fullstory.api.models import Session, User

NO_NAME = Refusal(REQUIRED_FIELD, "name is missing; fill the column 'name' or set event_name")

# developer.fullstory.com/server/events: "provide only one form of identification".
TWO_USERS = Refusal(INVALID_ARGUMENT, "user.uid and user.id are both given; FullStory takes one of them")
TWO_SESSIONS = Refusal(
    INVALID_ARGUMENT,
    "more than one of session.id, session.uid and session.use_most_recent is given; FullStory takes one",
)
USER_AND_SESSION = Refusal(
    INVALID_ARGUMENT,
    "a user and a session's id are both given; the session says who the user is, so leave out the user",
)
RECENT_SESSION_OF_NOBODY = Refusal(
    REQUIRED_FIELD, "session.use_most_recent needs user.uid or user.id, which is missing"
)
ANONYMOUS = Refusal(
    REQUIRED_FIELD,
    "neither a user nor a session is given, so FullStory would make up an anonymous user; "
    "set allow_anonymous=True if that is wanted",
)


def identity_refusal(
    user: User | UnsetType, session: Session | UnsetType, *, allow_anonymous: bool
) -> Refusal | None:
    """
    Return why FullStory would not accept the identity of an event, None where it would.

    :param user: The event's user, or the one shared by all.
    :param session: The event's session, or the one shared by all.
    :param allow_anonymous: Whether an event may have neither.
    """
    if user is not UNSET and user.uid is not UNSET and user.id is not UNSET:
        return TWO_USERS
    if session is UNSET:
        return ANONYMOUS if user is UNSET and not allow_anonymous else None
    given = [way is not UNSET for way in (session.id, session.uid, session.use_most_recent)]
    if sum(given) > 1:
        return TWO_SESSIONS
    if session.use_most_recent is not UNSET:
        return RECENT_SESSION_OF_NOBODY if user is UNSET else None
    return None if user is UNSET else USER_AND_SESSION
