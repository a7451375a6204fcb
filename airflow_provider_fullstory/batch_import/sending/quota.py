"""The monthly quota of server events: an import that does not fit fails before it exceeds the quota."""

from __future__ import annotations

import dataclasses
import gzip
import tempfile
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.exceptions import FullStoryQuotaError
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_fullstory.api.organization import Quota
    from airflow_provider_fullstory.batch_import.batching.batch import Batch

#: Up to this many events left, an import is held back until all of it is known to fit. More would fill disks.
MOST_HELD: Final = 500_000


class RemainingQuota:
    """
    The events that still fit into the quota.

    :param quota: The organization's quota of server events.
    :param has: Returns whether an earlier try sent a batch, by its name and digest: its events are part of
        the usage.
    """

    def __init__(self, quota: Quota, has: Callable[[str, str], bool] = lambda *_: False) -> None:
        self._quota = quota
        self._has = has

    def __str__(self) -> str:
        if self.left is None:
            return "FullStory has no limit of server events"
        return f"{self._quota.usage:,} of {self._quota.limit:,} server events used"

    @property
    def left(self) -> int | None:
        """How many more events fit, None without a limit."""
        limit = self._quota.limit
        return None if limit is None or limit < 0 else max(0, limit - self._quota.usage)

    def check(self, records: int, size: str = "has") -> None:
        """
        Check that an import fits.

        :param records: How many events it still has to send.
        :param size: How sure that is: ``has``, or ``has at least``.
        :raises FullStoryQuotaError: If it has more than are left.
        """
        if self.left is None or records <= self.left:
            return
        end = self._quota.period_end or "at a time that FullStory does not say"
        raise FullStoryQuotaError(
            "The import does not fit into the organization's monthly quota of server events.\n"
            f"It {size} {plural(records, 'event')}, and {self.left:,} more fit: {self._quota.usage:,} of "
            f"{self._quota.limit:,} are used\n"
            f"in the period that ends {end}.\n"
            "Import fewer, wait for the next period, or have the quota raised;\n"
            "check_quota=False sends all the same."
        )

    def within(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """
        Yield batches as long as they fit.

        If few events are left, nothing is yielded until all batches are known to fit; they wait on the
        worker's disk, compressed. If many are left, batches are yielded up to the first that does not fit.

        :raises FullStoryQuotaError: At the first batch that does not fit.
        """
        if self.left is None:
            yield from batches
        elif self.left > MOST_HELD:
            yield from self._counted(batches)
        else:
            yield from _held(self._counted(batches))

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        records = 0
        for batch in batches:
            records += 0 if self._has(batch.name, batch.digest) else batch.records
            self.check(records, "has at least")
            yield batch


def _held(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches once the last one was made; the last one is not written to disk."""
    waiting: list[tuple[Batch, int]] = []
    last: Batch | None = None
    with tempfile.TemporaryFile() as file:
        for batch in batches:
            if last is not None:
                waiting.append(
                    (dataclasses.replace(last, body=Body()), file.write(gzip.compress(bytes(last.body), 1)))
                )
            last = batch
        file.seek(0)
        for batch, size in waiting:
            yield dataclasses.replace(batch, body=Body([gzip.decompress(file.read(size))]))
    if last is not None:
        yield last
