"""The endpoint of annotations: marks in FullStory's charts, which can be neither listed nor deleted."""

from __future__ import annotations

import datetime
import re
from typing import Any, Final

import msgspec

from airflow_provider_fullstory.api.encoding import ENCODER, decoder
from airflow_provider_fullstory.api.http import Request
from airflow_provider_fullstory.api.protocol import Call
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import FullStoryInputError

# The limits are documented at developer.fullstory.com/server/annotations/create-annotation.
#: Most characters of the text.
MAX_TEXT: Final = 200
#: Most characters of the source.
MAX_SOURCE: Final = 40

# A date, and a time of day after T or, as Python prints it, a space. Python reads digits as dates too.
_ISO_8601: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ].*)?", re.ASCII)


class NewAnnotation(msgspec.Struct, frozen=True, omit_defaults=True):
    """An annotation that obeys FullStory's rules, as it is sent."""

    text: str
    start_time: str | None = None
    end_time: str | None = None
    source: str | None = None


class Annotation(msgspec.Struct, frozen=True):
    """An annotation as FullStory answers with it; it has no id."""

    text: str
    start_time: str
    end_time: str
    #: Unknown: whether it is left out where none was sent.
    source: str = ""


def new_annotation(
    text: str,
    start_time: datetime.datetime | str | None = None,
    end_time: datetime.datetime | str | None = None,
    source: str | None = None,
) -> NewAnnotation:
    """
    Return an annotation, and check it against FullStory's rules.

    :param text: What the mark says, up to 200 characters.
    :param start_time: A moment, or one in ISO 8601. Without a time zone it is in UTC.
    :param end_time: A moment after the start. One that equals it is left out, which means the same.
    :param source: Where the mark comes from, up to 40 characters.
    :raises FullStoryInputError: Naming what is wrong.
    """
    _check_text("text", text, MAX_TEXT)
    if not text.strip():
        raise _wrong("text is empty.")
    if source is not None:
        _check_text("source", source, MAX_SOURCE)
    start, end = _moment("start_time", start_time), _moment("end_time", end_time)
    if end is not None:
        # Without a start FullStory takes the time of the request.
        if end < (start or datetime.datetime.now(datetime.UTC)):
            began = f"at {_written(start)}" if start else "now, since it has no start_time"
            raise _wrong(f"end_time is {_written(end)}, but it starts {began}.")
        if end == start:
            end = None
    return NewAnnotation(
        text,
        None if start is None else _written(start),
        None if end is None else _written(end),
        source or None,
    )


def shortened(text: str) -> str:
    """Return a text that is no longer than FullStory takes it."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def create_annotation(annotation: NewAnnotation) -> Call[Annotation]:
    """
    Create an annotation.

    FullStory takes no idempotency key for it, so a request that may have arrived is never sent again.
    """
    return Call(
        Request(
            "POST",
            "/v2/annotations",
            headers={"Content-Type": "application/json"},
            body=ENCODER.encode(annotation),
        ),
        decoder(Annotation).decode,
        "create the annotation",
        repeatable_for=0.0,
    )


def _check_text(name: str, value: Any, most: int) -> None:
    if not isinstance(value, str):
        raise _wrong(f"{name} must be text, not {type(value).__name__}.")
    if len(value) > most:
        raise _wrong(f"{name} has {len(value):,} characters; FullStory takes up to {most}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong(f"{name} holds half of a surrogate pair, which no JSON can hold.") from None


def _moment(name: str, value: Any) -> datetime.datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime.datetime) else _parsed(str(value))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise _wrong(
            f"{name} is {quoted(repr(value))}; it must be a datetime, or text in ISO 8601 such as "
            "2026-01-31T12:00:00Z."
        ) from None


def _wrong(what: str) -> FullStoryInputError:
    return FullStoryInputError(f"The annotation's {what} Nothing was sent to FullStory.")


def _parsed(text: str) -> datetime.datetime:
    if not _ISO_8601.fullmatch(text := text.strip()):
        raise ValueError("Text is not ISO 8601.")
    return datetime.datetime.fromisoformat(text)


def _written(moment: datetime.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
