"""One user or event, made of the arguments of a call by the rules for imported records."""

from __future__ import annotations

import datetime
import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.kinds import EVENTS, USERS
from airflow_provider_fullstory.records.mapping import map_records
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.refusals import ValueRefusedError
from airflow_provider_fullstory.records.schema import check_types

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOGGER = logging.getLogger(__name__)


def user_body(
    fields: Mapping[str, Any],
    schema: Mapping[str, str] | None = None,
    *,
    allow_anonymous: bool = False,
    drop_invalid_properties: bool = False,
) -> bytes:
    """
    Return the JSON of a user.

    :param fields: Name of a field -> its value. None counts as missing.
    :param schema: Property -> the type to declare for it.
    :param allow_anonymous: Whether the user may lack a uid.
    :param drop_invalid_properties: Whether a property that FullStory would leave out is left out here, rather
        than refused.
    :raises FullStoryInputError: Naming what FullStory would not take.
    """
    options = MappingOptions(
        USERS,
        schema={} if schema is None else schema,
        allow_anonymous=allow_anonymous,
        drops_invalid_properties=drop_invalid_properties,
    )
    return _body(fields, options)


def event_body(
    fields: Mapping[str, Any],
    schema: Mapping[str, str] | None = None,
    page_schema: Mapping[str, str] | None = None,
    *,
    allow_anonymous: bool = False,
) -> bytes:
    """
    Return the JSON of an event.

    :param fields: Name of a field -> its value. None counts as missing.
    :param schema: Property -> the type to declare for it.
    :param page_schema: Property of the page -> the type to declare for it.
    :param allow_anonymous: Whether the event may lack a user and a session.
    :raises FullStoryInputError: Naming what FullStory would not take.
    """
    if page_schema is not None:
        check_types(page_schema, "page_properties_schema")
    if page_schema:
        # In a record the types are one level deeper.
        fields = {**fields, "page_properties_schema": {"properties": page_schema}}
    return _body(
        fields,
        MappingOptions(EVENTS, schema={} if schema is None else schema, allow_anonymous=allow_anonymous),
    )


def user_field(name: str, value: Any) -> str:
    """
    Return the text of a user's field, as what a user is found by.

    :param name: ``id``, ``uid``, ``email`` or ``display_name``.
    :param value: Its value.
    :raises FullStoryInputError: If FullStory can have no user with it.
    """
    try:
        text: str = USERS.fields[name].convert(value, datetime.UTC)
        if not text:
            raise rules.EMPTY.broken(field=name)
    except ValueRefusedError as error:
        raise FullStoryInputError(f"No user can be looked for: {error}. Nothing was sent.") from None
    return text


def _body(fields: Mapping[str, Any], options: MappingOptions) -> bytes:
    noun = options.kind.noun
    check_types(options.schema)
    [chunk] = map_records([{name: value for name, value in fields.items() if value is not None}], options)
    if chunk.invalid:
        raise FullStoryInputError(f"The {noun} was not sent: {chunk.invalid[0].refusal.reason}.")
    for reason, count in chunk.dropped_reasons.items():
        _LOGGER.warning(
            "The %s is sent without what FullStory would leave out: %s (%d).", noun, reason, count
        )
    return ENCODER.encode(chunk.records[0])
