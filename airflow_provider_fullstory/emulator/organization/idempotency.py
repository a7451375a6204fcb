"""
The answers remembered for ``Idempotency-Key`` (developer.fullstory.com/server/idempotent-requests).

Unknown, and decided here: the length and the characters that a key may have, whether bodies are compared byte
by byte, the status for a key that came with another body before, and whether a replayed answer is marked.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.clock import Clock
    from airflow_provider_fullstory.emulator.store.database import Database

MEMORY_SECONDS = 24 * 60 * 60
MAX_KEY_LENGTH = 255
#: Answers that come before the endpoint does anything; only what an endpoint began is remembered.
_UNEXECUTED = frozenset({401, 403, 404, 408, 409, 413, 429})


class IdempotencyMemory:
    """Remember the answer for each key; the scope of a key is an endpoint."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._executing: set[tuple[str, str]] = set()

    @contextmanager
    def executing(self, scope: str, key: str) -> Iterator[None]:
        """
        Mark a key as in flight.

        :raises ApiError: If no key is like that, or a request with this key is in flight; this request is not
            remembered.
        """
        if len(key) > MAX_KEY_LENGTH:
            raise invalid(f"Idempotency-Key must not be longer than {MAX_KEY_LENGTH} characters")
        if not (key.isascii() and key.isprintable()):
            raise invalid("Idempotency-Key must consist of visible ASCII characters")
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

        :param digest: SHA-256 of the body of this request.
        :raises ApiError: If the key came with another body before.
        """
        row = self._database.connection.execute(
            "SELECT digest, status, body, records FROM answers WHERE scope = ? AND key = ? AND created > ?",
            (scope, key, self._clock.now() - MEMORY_SECONDS),
        ).fetchone()
        if row is None:
            return None
        used_digest, status, body, records = row
        if used_digest != digest:
            raise invalid("this Idempotency-Key was used with another request body")
        return Answer(status, body, records=records)

    def remember(self, scope: str, key: str, digest: str, answer: Answer, *, server_errors: bool) -> None:
        """
        Remember an answer, unless the request was not executed, or can be retried.

        Call it within a transaction.
        """
        # "Server errors above 500" can be retried; whether that includes 500 itself is unknown. Here it does.
        retryable = answer.status >= 500 and not server_errors
        if not retryable and answer.status not in _UNEXECUTED:
            self._database.connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (scope, key, digest, self._clock.now(), answer.status, answer.body, answer.records),
            )
