"""Identifiers of users, and updates of known users."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.emulator.rules.properties import (
    PropertyType,
    RecordError,
    Schema,
    kept_properties,
    merged_properties,
)
from airflow_provider_fullstory.emulator.store.entries import StoredUser

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.store.users import UserStore


class SentUser(msgspec.Struct, omit_defaults=True):
    """Hold a user as it was sent; property values keep their exact JSON."""

    id: str | None = None
    uid: str | None = None
    display_name: str | None = None
    email: str | None = None
    properties: dict[str, msgspec.Raw] | None = None
    schema: Schema | None = None


def user_id_of(uid: str) -> str:
    """Return FullStory's identifier for a customer's identifier."""
    return str(int.from_bytes(hashlib.sha256(uid.encode()).digest()[:7]))


def anonymous_user_id(job: int, ordinal: int) -> str:
    """Return FullStory's identifier for an anonymous user, by its job and its place in the batch."""
    return user_id_of(f"\0anonymous {job} {ordinal}")


def id_of(users: UserStore, sent: SentUser, job: int, ordinal: int) -> str:
    """Return FullStory's identifier for an imported user, by its job and its place in the batch."""
    known = users.find_by_uid(sent.uid) if sent.uid is not None else None
    # An anonymous user that was given a uid later keeps its id.
    found = sent.id or (known and known.id)
    return found or (anonymous_user_id(job, ordinal) if sent.uid is None else user_id_of(sent.uid))


def upserted_user(users: UserStore, sent: SentUser, anonymous_id: str) -> StoredUser:
    """
    Return a new user, or a known user with the update merged in; the latest value of each property counts.

    Unknown: what becomes of a user that is sent while it is being deleted. Here it is a new one. Unknown too:
    what becomes of a user without uid that is given another user's. Here that is refused, and no id changes.

    :raises RecordError: If the user contradicts a known user.
    """
    by_id = _known(users.find(sent.id)) if sent.id is not None else None
    if sent.id is not None and by_id is None:
        raise RecordError("user_not_found", f"there is no user with the id {sent.id}")
    by_uid = _known(users.find_by_uid(sent.uid)) if sent.uid is not None else None
    if by_id is not None and sent.uid is not None and (by_id.uid or sent.uid) != sent.uid:
        raise RecordError("invalid_argument", "the uid of a user cannot be changed")
    if by_id is not None and by_uid is not None and by_id.id != by_uid.id:
        raise RecordError("invalid_argument", "another user has this uid")

    known = by_id or by_uid
    if known is None:
        user_id = user_id_of(sent.uid) if sent.uid is not None else anonymous_id
        known = StoredUser(user_id, sent.uid, b"{}")
    merged = _merged(msgspec.json.decode(known.text, type=SentUser), sent)
    merged.id, merged.uid = known.id, known.uid or sent.uid
    return StoredUser(known.id, merged.uid, msgspec.json.encode(merged))


def _known(user: StoredUser | None) -> StoredUser | None:
    return None if user is None or user.is_being_deleted else user


def _merged(known: SentUser, sent: SentUser) -> SentUser:
    return SentUser(
        display_name=sent.display_name if sent.display_name is not None else known.display_name,
        email=sent.email if sent.email is not None else known.email,
        properties=merged_properties(known.properties or {}, kept_properties(sent.properties or {})),
        schema=Schema(_declared(known) | _declared(sent)),
    )


def _declared(user: SentUser) -> dict[str, PropertyType]:
    return (user.schema and user.schema.properties) or {}
