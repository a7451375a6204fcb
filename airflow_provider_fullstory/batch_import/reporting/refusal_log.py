"""What the log shows of refused records: a few of them, without their values unless these are asked for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.records.drafts import redacted, value_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_fullstory.api.jobs import RecordError
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: Records of each kind that the log explains; the others are only counted.
MOST: Final = 5

log = logging.getLogger(__name__)


class RefusalLog:
    """
    Explain the first refused records in the log.

    :param keys: Path of each key column within an event, by its name; its values name the record.
    :param shows_records: Whether records are shown too, since no file holds them.
    :param shows_values: Whether they are shown with their values.
    """

    def __init__(self, keys: Mapping[str, Sequence[str]], *, shows_records: bool, shows_values: bool) -> None:
        self._keys = keys
        self._shows_records = shows_records
        self._shows_values = shows_values
        self._invalid = 0
        self._rejected = 0

    def invalid(self, records: Sequence[InvalidRecord]) -> None:
        """
        Explain records that are refused here.

        :param records: The records.
        """
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
        Explain records that FullStory refused.

        :param job_id: The job that refused them.
        :param errors: What FullStory says of them.
        """
        for error in errors[: MOST - self._rejected]:
            self._rejected += 1
            record = error.event or error.user
            # FullStory's message may repeat a value.
            message = f", {quoted(error.message)!r}" if self._shows_values and error.message else ""
            log.warning(
                "Rejected by FullStory: a record%s: %s%s (job %s)",
                self._key(record),
                error.code or "no code",
                message,
                job_id,
            )
            self._show(record)

    def _key(self, record: Any) -> str:
        if not self._keys:
            return ""
        pairs = (f"{name}={value_at(record, path)!r}" for name, path in self._keys.items())
        return f" ({', '.join(pairs)})"

    def _show(self, record: Any) -> None:
        if self._shows_records:
            shown = record if self._shows_values else redacted(record)
            log.warning("  %s", ENCODER.encode(shown).decode())
