"""The settings of the emulator, and the API keys it knows."""

from __future__ import annotations

import dataclasses
from enum import IntEnum


class Level(IntEnum):
    """The level of an API key; each level includes those below it."""

    STANDARD = 1
    ARCHITECT = 2
    ADMIN = 3


KEYS = {
    "na1.emulator/standard": Level.STANDARD,
    "na1.emulator/architect": Level.ARCHITECT,
    "na1.emulator/admin": Level.ADMIN,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """
    Hold the limits and behaviour of the emulated organization.

    Unless said otherwise a default is the documented value
    (developer.fullstory.com/server/users/create-batch-user-import-job).

    :param organization: Id of the organization, as ``GET /me`` returns it.
    :param processing_seconds: Seconds that FullStory needs for one batch of any size, and to delete a user.
        Real durations are not documented; the default of 0 keeps tests quick.
    :param max_batch_records: Records that one batch request may hold.
    :param concurrent_batches: Batches processed at the same time; further ones are accepted and wait.
    :param max_unfinished_batches: Unfinished batches from which on further ones are answered with 429.
    :param max_unfinished_records: Unfinished records above which further batches are answered with 429.
    :param retry_after_seconds: The ``Retry-After`` header of those answers. The real value is unknown.
    :param max_body_bytes: Bytes of a request body above which the answer is 413. No such limit is documented,
        so there is none by default.
    :param page_size: Results on one page of ``/imports`` and ``/errors``, and of users. The real size is
        unknown.
    :param event_quota: Events that may be imported per calendar month (UTC).
    :param replay_server_errors: Whether an idempotency key also replays 5xx answers, as older revisions of
        the documentation said. Newer ones say that server errors can be retried.
    :param omit_total_records: Whether these pages come without ``total_records``.
    :param repeat_last_page_token: Whether the last of these pages carries a token that leads to itself. A
        client that stops only at a page without a token never ends.
    :param fail_jobs: Whether jobs end without importing or rejecting a single record, as if FullStory broke
        while it processed them. Unknown: whether that happens, and which status such a job has; here it is
        ``FAILED`` without counts.
    """

    organization: str = "EMULATOR"
    processing_seconds: float = 0.0
    max_batch_records: int = 50_000
    concurrent_batches: int = 100
    max_unfinished_batches: int = 200
    max_unfinished_records: int = 500_000
    retry_after_seconds: int = 1
    max_body_bytes: int | None = None
    page_size: int = 100
    event_quota: int = 500_000
    replay_server_errors: bool = False
    omit_total_records: bool = False
    repeat_last_page_token: bool = False
    fail_jobs: bool = False

    def replace(self, changes: dict[str, object]) -> Settings:
        """
        Return these settings with some values changed.

        :raises ValueError: If a name is unknown or a value is of the wrong type or negative.
        """
        for name, value in changes.items():
            _check(name, value)
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # checked just above


_FLAGS = {field.name for field in dataclasses.fields(Settings) if field.default is False}


def _check(name: str, value: object) -> None:
    if name in _FLAGS:
        acceptable = isinstance(value, bool)
    elif name == "organization":
        acceptable = isinstance(value, str)
    elif name == "max_body_bytes" and value is None:
        acceptable = True
    elif name == "processing_seconds":
        acceptable = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    elif name in {field.name for field in dataclasses.fields(Settings)}:
        minimum = 1 if name in {"concurrent_batches", "page_size"} else 0
        acceptable = isinstance(value, int) and not isinstance(value, bool) and value >= minimum
    else:
        raise ValueError(f"There is no setting {name!r}")
    if not acceptable:
        raise ValueError(f"{name} cannot be {value!r}")
