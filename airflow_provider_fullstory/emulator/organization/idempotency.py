"""
The answers remembered for ``Idempotency-Key`` (developer.fullstory.com/server/idempotent-requests).

Unknown, and decided here: the maximum length of a key, whether bodies are compared byte by byte, the status
for a key that came with another body before, and whether a replayed answer is marked.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid
from airflow_provider_fullstory.emulator.store.entries import StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.clock import Clock
    from airflow_provider_fullstory.emulator.store.answers import AnswerStore

MEMORY_SECONDS = 24 * 60 * 60
MAX_KEY_LENGTH = 255


class IdempotencyMemory:
    """
    Remember the answer for each key.

    :param answers: Where answers are kept.
    :param clock: The organization's clock.
    """

    def __init__(self, answers: AnswerStore, clock: Clock) -> None:
        self._answers = answers
        self._clock = clock
        self._executing: set[tuple[str, str]] = set()

    @contextmanager
    def executing(self, scope: str, key: str) -> Iterator[None]:
        """
        Mark a key as in flight.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        :raises ApiError: If a request with this key is in flight; this request is not remembered.
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
        Return the answer that was remembered for a key within the last 24 hours.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        :param digest: SHA-256 of the body of this request.
        :raises ApiError: If the key came with another body before.
        """
        stored = self._answers.find(scope, key)
        if stored is None or stored.created + MEMORY_SECONDS <= self._clock.now():
            return None
        if stored.digest != digest:
            raise invalid("this Idempotency-Key was used with another request body")
        return Answer(stored.status, stored.body, records=stored.records)

    def remember(self, scope: str, key: str, digest: str, answer: Answer, *, server_errors: bool) -> None:
        """
        Remember an answer, unless the request can be retried. Call it within a transaction.

        :param scope: Endpoint that the key belongs to.
        :param key: The key.
        :param digest: SHA-256 of the body.
        :param answer: The answer.
        :param server_errors: Whether to remember server errors too.
        """
        # "Server errors above 500" can be retried; whether that includes 500 itself is unknown. Here it does.
        retryable = answer.status in (409, 429) or (answer.status >= 500 and not server_errors)
        if not retryable:
            self._answers.save(
                StoredAnswer(
                    scope, key, digest, self._clock.now(), answer.status, answer.body, answer.records
                )
            )
