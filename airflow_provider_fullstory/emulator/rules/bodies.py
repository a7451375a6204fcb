"""From the bytes of a request to its records, and the rejections among them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

import msgspec

from airflow_provider_fullstory.emulator.answers import invalid
from airflow_provider_fullstory.emulator.rules.properties import RecordError
from airflow_provider_fullstory.emulator.rules.records import (
    Event,
    Shared,
    User,
    check_event,
    check_shared,
    check_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.injection.rejections import OrderedRejection

Shape = TypeVar("Shape")

_NULL = msgspec.Raw(b"null")


class _EventsBody(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[msgspec.Raw] | None = None
    shared: msgspec.Raw = _NULL


class _UsersBody(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[msgspec.Raw] | None = None


@dataclasses.dataclass(frozen=True)
class Batch:
    """
    Hold the records of a request.

    :param texts: JSON of the records exactly as they were sent.
    :param rejections: Records that break a rule, by their place in the batch.
    :param shared: JSON of the ``shared`` object exactly as it was sent.
    :param ordered: Further rejections that a test ordered, by their place in the batch.
    """

    texts: list[msgspec.Raw]
    rejections: dict[int, RecordError]
    shared: bytes | None = None
    ordered: dict[int, OrderedRejection] = dataclasses.field(default_factory=dict)


def read_events(body: bytes, maximum: int) -> Batch:
    """
    Read the body of a batch of events.

    :raises ApiError: If the request as a whole cannot be accepted.
    """
    parts = _decode(body, _EventsBody)
    texts = _check_size(parts.requests, maximum)
    if parts.shared == _NULL:
        return Batch(texts, _rejections(texts, Event, lambda event: check_event(event, None)))
    shared = _read_shared(parts.shared)
    rejections = _rejections(texts, Event, lambda event: check_event(event, shared))
    return Batch(texts, rejections, bytes(parts.shared))


def read_users(body: bytes, maximum: int) -> Batch:
    """
    Read the body of a batch of users.

    :raises ApiError: If the request as a whole cannot be accepted.
    """
    texts = _check_size(_decode(body, _UsersBody).requests, maximum)
    return Batch(texts, _rejections(texts, User, check_user))


def read_one(body: bytes, shape: type[Shape], check: Callable[[Shape], None]) -> Batch:
    """
    Read a body that is one record, as a batch of one.

    :raises ApiError: If the record breaks a rule.
    """
    text = _decode(body, msgspec.Raw)
    rejections = _rejections([text], shape, check)
    if rejections:
        raise invalid(rejections[0].message, rejections[0].code)
    return Batch([text], rejections)


def _decode(body: bytes, shape: type[Shape]) -> Shape:
    try:
        body.decode()
        return msgspec.json.decode(body, type=shape)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise invalid(f"the request body is not what this endpoint takes: {error}") from error


def _check_size(texts: list[msgspec.Raw] | None, maximum: int) -> list[msgspec.Raw]:
    # Unknown: whether an empty list is accepted. Here it is rejected like a missing one.
    if not texts:
        raise invalid("requests is required", "required_field")
    if len(texts) > maximum:
        raise invalid(f"requests must not hold more than {maximum} items, and holds {len(texts)}")
    return texts


def _read_shared(text: msgspec.Raw) -> Shared:
    try:
        shared = msgspec.json.decode(text, type=Shared)
        check_shared(shared)
    except msgspec.ValidationError as error:
        raise invalid(f"shared: {error}") from error
    except RecordError as error:
        raise invalid(f"shared: {error.message}", error.code) from error
    return shared


def _rejections(
    texts: list[msgspec.Raw], shape: type[Shape], check: Callable[[Shape], None]
) -> dict[int, RecordError]:
    decode = msgspec.json.Decoder(shape).decode
    rejections = {}
    for ordinal, text in enumerate(texts):
        try:
            check(decode(text))
        except msgspec.ValidationError as error:
            _check_object(text, ordinal)
            rejections[ordinal] = RecordError("invalid_argument", str(error))
        except RecordError as error:
            # Without its traceback, which would keep every frame of the check alive.
            rejections[ordinal] = error.with_traceback(None)
        except (msgspec.DecodeError, RecursionError) as error:
            raise invalid(f"requests[{ordinal}] is not valid JSON: {error}") from error
    return rejections


def _check_object(text: msgspec.Raw, ordinal: int) -> None:
    if not bytes(text).startswith(b"{"):
        raise invalid(f"requests[{ordinal}] must be an object")
