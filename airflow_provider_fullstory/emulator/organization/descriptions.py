"""Events and users in the form in which the API shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.emulator.clock import timestamp
from airflow_provider_fullstory.emulator.organization.users import SentUser, anonymous_user_id, user_id_of
from airflow_provider_fullstory.emulator.rules.properties import Schema, kept_properties, types_of

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.store.entries import Job, StoredRecord


_NULL = msgspec.Raw(b"null")


class _Identifiers(msgspec.Struct):
    id: str | None = None
    uid: str | None = None


class _SentEvent(msgspec.Struct):
    name: str = ""
    timestamp: str | None = None
    user: _Identifiers | None = None
    session: _Identifiers | None = None
    context: msgspec.Raw = _NULL
    properties: msgspec.Raw = msgspec.Raw(b"{}")
    schema: Schema | None = None


def describe_event(job: Job, record: StoredRecord, *, include_schema: bool) -> dict[str, object]:
    """Return an imported event in the form that ``/imports`` shows."""
    event = msgspec.json.decode(record.text, type=_SentEvent)
    shared = msgspec.json.decode(job.shared or b"{}", type=_SentEvent)
    described: dict[str, object] = {
        "name": event.name,
        "timestamp": event.timestamp or timestamp(job.created),
        "properties": event.properties,
    }
    session = event.session or shared.session
    if session is not None and (session.id or session.uid):
        described["session"] = without_null({"id": session.id, "uid": session.uid})
    else:
        user = event.user or shared.user or _Identifiers()
        anonymous = anonymous_user_id(job.number, record.ordinal)
        user_id = user.id or (user_id_of(user.uid) if user.uid else anonymous)
        described["user"] = without_null({"id": user_id, "uid": user.uid})
    context = shared.context if event.context == _NULL else event.context
    if context != _NULL:
        described["context"] = context
    if include_schema:
        described["schema"] = _schema(event.properties, event.schema)
    return described


def describe_user(user_id: str, user: SentUser, *, include_schema: bool) -> dict[str, object]:
    """Return a user in the form that ``/imports`` shows."""
    properties = kept_properties(user.properties or {})
    schema = _schema(msgspec.Raw(msgspec.json.encode(properties)), user.schema) if include_schema else None
    described = {"uid": user.uid, "display_name": user.display_name, "email": user.email}
    return {
        "id": user_id,
        **without_null(described),
        "properties": properties,
        "schema": schema,
        "type_conflicts": None,
    }


def _schema(properties: msgspec.Raw, declared: Schema | None) -> dict[str, object]:
    values = msgspec.json.decode(properties, type=dict[str, object] | None) or {}
    return {"properties": types_of(values, declared)}


def without_null(values: dict[str, str | None]) -> dict[str, str]:
    """Drop values that are None."""
    return {name: value for name, value in values.items() if value is not None}
