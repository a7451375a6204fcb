"""One HTTP request, and its answer."""

from __future__ import annotations

import dataclasses
import email.utils
import math
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Content(Protocol):
    """The bytes of a request in pieces, which can be read more than once."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces from the beginning."""

    def __bytes__(self) -> bytes:
        """Return all of them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without the host and the API key."""

    method: str
    path: str
    query: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | Content | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer; ``headers`` must be case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """The seconds that FullStory asks to wait, None if it does not ask."""
        value = self.headers.get("Retry-After")
        if not value:
            return None
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, OverflowError, TypeError):
                return None
        return max(0.0, seconds) if math.isfinite(seconds) else None
