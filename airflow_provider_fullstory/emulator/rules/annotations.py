"""The rules for an annotation (developer.fullstory.com/server/annotations/create-annotation)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from airflow_provider_fullstory.emulator.answers import invalid
from airflow_provider_fullstory.emulator.rules.properties import RecordError
from airflow_provider_fullstory.emulator.rules.records import check_timestamp


# Unknown: what becomes of a field that the API does not have. Here the request is refused, as records are.
class _Body(msgspec.Struct, forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    start_time: str | None = None
    end_time: str | None = None
    source: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class Annotation(msgspec.Struct, frozen=True):
    """Hold an annotation as the API answers with it: all four fields, and no id."""

    text: str
    start_time: str
    end_time: str
    source: str


def read_annotation(body: bytes, now: str) -> Annotation:
    """
    Read the body of a request that creates an annotation.

    :param now: The organization's time, ISO 8601.
    :raises ApiError: If a field breaks a rule.
    """
    try:
        given = msgspec.json.decode(body, type=_Body)
        for name in ("start_time", "end_time"):
            if (moment := getattr(given, name)) is not None:
                check_timestamp(moment, name)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise invalid(f"the request body is not what this endpoint takes: {error}") from error
    except RecordError as error:
        raise invalid(error.message, error.code) from error
    # Unknown: whether a text of spaces counts as one. Here it does not.
    if not (given.text or "").strip():
        raise invalid("text is required")
    start = given.start_time or now
    # An end that is left out equals the start. Unknown: whether one that is given may; "after" says no.
    if given.end_time is not None and _moment(given.end_time) <= _moment(start):
        raise invalid("end_time must be after start_time")
    # Unknown: the source of an annotation that was sent without one, though each answer has a source. Here it
    # is empty. Unknown too: the form of times in the answer. Here it is the one in which they were sent.
    return Annotation(given.text or "", start, given.end_time or start, given.source or "")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
