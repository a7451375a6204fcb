"""From the bytes of a request to records and the refusals among them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

import msgspec

from airflow_provider_fullstory.emulator.answers import invalid
from airflow_provider_fullstory.emulator.properties import RecordError
from airflow_provider_fullstory.emulator.records import (
    Event,
    Shared,
    User,
    check_event,
    check_shared,
    check_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.refusals import OrderedRefusal

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
    Hold what one batch request asks for.

    :param texts: JSON of the records exactly as they were sent.
    :param refusals: Why some are refused, by their place in the batch.
    :param shared: JSON of the ``shared`` object exactly as it was sent.
    :param ordered: Refusals of further records that a test ordered, by their place in the batch.
    """

    texts: list[msgspec.Raw]
    refusals: dict[int, RecordError]
    shared: bytes | None = None
    ordered: dict[int, OrderedRefusal] = dataclasses.field(default_factory=dict)


def read_events(body: bytes, maximum: int) -> Batch:
    """
    Read the body of a batch of events.

    :param body: Bytes of the request.
    :param maximum: Most records allowed.
    :raises ApiError: If the request as a whole cannot be accepted.
    """
    parts = _decode(body, _EventsBody)
    texts = _check_size(parts.requests, maximum)
    if parts.shared == _NULL:
        return Batch(texts, _refusals(texts, Event, lambda event: check_event(event, None)))
    shared = _read_shared(parts.shared)
    refusals = _refusals(texts, Event, lambda event: check_event(event, shared))
    return Batch(texts, refusals, bytes(parts.shared))


def read_users(body: bytes, maximum: int) -> Batch:
    """
    Read the body of a batch of users.

    :param body: Bytes of the request.
    :param maximum: Most records allowed.
    :raises ApiError: If the request as a whole cannot be accepted.
    """
    texts = _check_size(_decode(body, _UsersBody).requests, maximum)
    return Batch(texts, _refusals(texts, User, check_user))


def read_one(body: bytes, shape: type[Shape], check: Callable[[Shape], None]) -> Batch:
    """
    Read a body that is one record, as a batch of one.

    :param body: Bytes of the request.
    :param shape: What the record is.
    :param check: What refuses an unacceptable one.
    :raises ApiError: If the record is not acceptable.
    """
    text = _decode(body, msgspec.Raw)
    refusals = _refusals([text], shape, check)
    if refusals:
        raise invalid(refusals[0].message, refusals[0].code)
    return Batch([text], refusals)


def _decode(body: bytes, shape: type[Shape]) -> Shape:
    try:
        body.decode()
        return msgspec.json.decode(body, type=shape)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise invalid(f"the request body is not what this endpoint takes: {error}") from error


def _check_size(texts: list[msgspec.Raw] | None, maximum: int) -> list[msgspec.Raw]:
    # Unknown: whether an empty list is accepted. Here it is refused like a missing one.
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


def _refusals(
    texts: list[msgspec.Raw], shape: type[Shape], check: Callable[[Shape], None]
) -> dict[int, RecordError]:
    decode = msgspec.json.Decoder(shape).decode
    refusals = {}
    for ordinal, text in enumerate(texts):
        try:
            check(decode(text))
        except msgspec.ValidationError as error:
            _check_object(text, ordinal)
            refusals[ordinal] = RecordError("invalid_argument", str(error))
        except RecordError as error:
            # Without its traceback, which would keep every frame of the check alive.
            refusals[ordinal] = error.with_traceback(None)
        except (msgspec.DecodeError, RecursionError) as error:
            raise invalid(f"requests[{ordinal}] is not valid JSON: {error}") from error
    return refusals


def _check_object(text: msgspec.Raw, ordinal: int) -> None:
    if not bytes(text).startswith(b"{"):
        raise invalid(f"requests[{ordinal}] must be an object")
