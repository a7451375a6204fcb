"""
The memory behind ``Idempotency-Key`` (developer.fullstory.com/server/idempotent-requests).

Unknown, and decided in this module: how long a key may be, whether bodies are compared byte by byte, with
which status a key is refused that came with another body, and whether a replayed answer is marked as one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid
from airflow_provider_fullstory.emulator.entries import StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.clock import Clock
    from airflow_provider_fullstory.emulator.store import Store

MEMORY_SECONDS = 24 * 60 * 60
MAX_KEY_LENGTH = 255


class IdempotencyMemory:
    """
    Remember which answer a key got.

    :param store: Where answers are kept.
    :param clock: What tells the time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._executing: set[tuple[str, str]] = set()

    @contextmanager
    def executing(self, scope: str, key: str) -> Iterator[None]:
        """
        Mark a key as being executed.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        :raises ApiError: If such a request is being executed already; nothing is remembered of this one.
        """
        if len(key) > MAX_KEY_LENGTH:
            raise invalid(f"Idempotency-Key must not be longer than {MAX_KEY_LENGTH} characters")
        if (scope, key) in self._executing:
            raise ApiError(409, "conflict", "a request with this Idempotency-Key is being executed")
        self._executing.add((scope, key))
        try:
            yield
        finally:
            self._executing.discard((scope, key))

    def recall(self, scope: str, key: str, digest: str) -> Answer | None:
        """
        Return the answer that a key got within the last 24 hours.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        :param digest: SHA-256 of the body it came with this time.
        :raises ApiError: If it came with another body before.
        """
        stored = self._store.find_answer(scope, key)
        if stored is None or stored.created + MEMORY_SECONDS <= self._clock.now():
            return None
        if stored.digest != digest:
            raise invalid("this Idempotency-Key was used with another request body")
        return Answer(stored.status, stored.body, records=stored.records)

    def remember(self, scope: str, key: str, digest: str, answer: Answer, *, server_errors: bool) -> None:
        """
        Keep an answer, unless the request can be retried. To be called within a transaction.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        :param digest: SHA-256 of the body it came with.
        :param answer: What the client is told.
        :param server_errors: Whether server errors are kept too.
        """
        # "Server errors above 500" can be retried; whether that includes 500 itself is unknown. Here it does.
        retryable = answer.status in (409, 429) or (answer.status >= 500 and not server_errors)
        if not retryable:
            self._store.save_answer(
                StoredAnswer(
                    scope, key, digest, self._clock.now(), answer.status, answer.body, answer.records
                )
            )
