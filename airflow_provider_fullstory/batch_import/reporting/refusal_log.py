"""What the log shows of refused records: the first few, without values unless the user asks for these."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.records.redaction import redacted, value_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_fullstory.api.jobs import RecordError
    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: Records of each kind that the log explains; the others are only counted.
MOST: Final = 5

log = logging.getLogger(__name__)


class RefusalLog:
    """
    Explain the first refused records in the log.

    :param kind: The kind of records.
    :param keys: Path of each key column within a record, by its name; the values of the key name the record.
    :param shows_records: Whether records are shown too, since no file holds them.
    :param shows_values: Whether they are shown with their values.
    """

    def __init__(
        self,
        kind: RecordKind,
        keys: Mapping[str, Sequence[str]],
        *,
        shows_records: bool,
        shows_values: bool,
    ) -> None:
        self._kind = kind
        self._keys = keys
        self._shows_records = shows_records
        self._shows_values = shows_values
        self._invalid = 0
        self._rejected = 0

    def invalid(self, records: Sequence[InvalidRecord]) -> None:
        """Explain invalid records."""
        for record in records[: MOST - self._invalid]:
            self._invalid += 1
            refusal = record.refusal
            log.warning(
                "Not sent: record %d%s: %s (%s)",
                record.position,
                self._key(record.record),
                refusal.reason,
                refusal.code,
            )
            self._show(record.record)

    def rejected(self, job_id: str, errors: Sequence[RecordError]) -> None:
        """
        Explain records that FullStory rejected.

        :param job_id: The job that rejected them.
        :param errors: What FullStory says of them.
        """
        for error in errors[: MOST - self._rejected]:
            self._rejected += 1
            # FullStory's message may repeat a value.
            message = f", {quoted(error.message)!r}" if self._shows_values and error.message else ""
            log.warning(
                "Rejected by FullStory: a record%s: %s%s (job %s)",
                self._key(error.record),
                error.code or "no code",
                message,
                job_id,
            )
            self._show(error.record)

    def _key(self, record: Any) -> str:
        if not self._keys:
            return ""
        pairs = (f"{name}={value_at(record, path)!r}" for name, path in self._keys.items())
        return f" ({', '.join(pairs)})"

    def _show(self, record: Any) -> None:
        if self._shows_records:
            shown = record if self._shows_values else redacted(self._kind, record)
            log.warning("  %s", ENCODER.encode(shown).decode())
