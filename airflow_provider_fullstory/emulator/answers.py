"""Answers of the API, including errors."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Answer:
    """
    Hold a response until it is written to the connection.

    :param status: HTTP status code.
    :param body: JSON text.
    :param headers: Headers in addition to ``Content-Type``.
    :param records: Number of records in the request, for the log of requests.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    records: int | None = None


def json_answer(value: object, status: int = 200) -> Answer:
    """Return an answer that holds a value as JSON."""
    return Answer(status, msgspec.json.encode(value))


class ApiError(Exception):
    """
    Reject the whole request.

    :param status: HTTP status code.
    :param code: One of FullStory's codes, such as ``required_field``.
    :param message: What is wrong, in plain words.
    :param headers: Further response headers.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def answer(self) -> Answer:
        """Return the answer that the client gets."""
        body = msgspec.json.encode({"message": self.message, "code": self.code})
        return Answer(self.status, body, self.headers)


def not_found() -> ApiError:
    """Return the error for a job, user or endpoint that does not exist."""
    return ApiError(404, "resource_not_found", "Requested resource does not exist")


def invalid(message: str, code: str = "invalid_argument") -> ApiError:
    """Return the error for a request that cannot be understood, with one of FullStory's codes."""
    return ApiError(400, code, message)
