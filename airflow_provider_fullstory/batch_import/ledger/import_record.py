"""The record of an import in its ledger: how far it is, and what is known of it as a whole."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.batch_import.ledger.stores import json_of, object_of

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.ledger.stores import Store
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

#: The key of the record in the ledger.
IMPORT_KEY: Final = "import"
#: The stages of an import: batches are sent; all were accepted; their jobs are finished, but too many records
#: were refused; the import succeeded.
SENDING, SENT, ENDED, SUCCEEDED = "sending", "sent", "ended", "succeeded"


@dataclasses.dataclass(frozen=True, slots=True)
class ImportRecord:
    """
    What is known of an import as a whole.

    :param id: A random id, which distinguishes its staged batches from those of any other import.
    :param version: The version of this package that began it.
    :param try_number: The latest try that worked on it.
    :param organization: The organization that has its batches, None if FullStory did not say.
    :param round: How often the jobs of all its batches had finished, with counts.
    :param empty_rounds: See ``Policy``.
    :param arguments: Fingerprint of the source and its mapping, None if only the data itself can be compared.
    :param stage: How far it is.
    :param batches: How many batches there are, once all were sent.
    :param report: The report's counts, once all were sent.
    :param has_more: Whether FullStory may have records of batches that no longer belong to it.
    :param run: Distinguishes its DAG run from an earlier one of the same id.
    :param is_remade: Whether its run was deleted and created again, and has not compared its source yet.
    """

    id: str
    version: str
    try_number: int
    organization: str | None = None
    round: int = 0
    empty_rounds: int = 0
    arguments: str | None = None
    stage: str = SENDING
    batches: int = 0
    report: dict[str, Any] = dataclasses.field(default_factory=dict)
    has_more: bool = False
    run: str = ""
    is_remade: bool = False

    @property
    def is_to_be_checked(self) -> bool:
        """Whether all was sent, FullStory may have some of it, and the import has not succeeded."""
        if not self.batches or self.is_remade:
            return False
        return self.stage == SENT or (self.stage == ENDED and self.report.get("imported") != 0)

    @property
    def has_ended(self) -> bool:
        """Whether its jobs are finished."""
        return self.stage in (ENDED, SUCCEEDED)

    @property
    def ending(self) -> str:
        """How it ended, as a sentence; empty if it did not."""
        if not self.has_ended:
            return ""
        if self.report.get("imported") is None:
            return f"\nAll {self.report.get('records'):,} records of that import were sent."
        return (
            f"\nThat import had ended with {self.report.get('imported'):,} of {self.report.get('records'):,} "
            "records in FullStory."
        )


class StoredImport:
    """Keep the record of an import, which another try of the task may change at the same time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: The record as this try knows it.
        self.record = ImportRecord("", __version__, 0)

    def read(self) -> ImportRecord | None:
        """Return the record in the store, None if there is none."""
        value = self._store.get(IMPORT_KEY)
        return None if value is None else object_of(value, ImportRecord)

    def load(self) -> ImportRecord | None:
        """Take over the record in the store, and return it; None if there is none."""
        known = self.read()
        if known is not None:
            self.record = known
        return known

    def save(self, record: ImportRecord) -> None:
        """Write the record of this try."""
        self.record = record
        self._write(record)

    def change(self, **changes: Any) -> None:
        """Change the record of this try; another try that works on the import meanwhile keeps its claim."""
        self.record = dataclasses.replace(self.record, **changes)
        latest = self.read()
        if latest is not None and latest.try_number > self.record.try_number:
            # Airflow took this try for dead, and another one works on the import.
            self._write(dataclasses.replace(self.record, try_number=latest.try_number, id=latest.id))
        else:
            self._write(self.record)

    @property
    def is_own(self) -> bool:
        """Whether no later try of the task works on the import."""
        known = self.read()
        return known is None or known.try_number <= self.record.try_number

    def _write(self, record: ImportRecord) -> None:
        self._store.set(IMPORT_KEY, json_of(record))


def counts_of(report: ImportReport) -> dict[str, Any]:
    """Return the values of a report without the jobs, which are in the entries and may be many."""
    values = report.to_xcom() | {"job_ids": None}
    return {name: value for name, value in values.items() if value not in (None, [], {})}
