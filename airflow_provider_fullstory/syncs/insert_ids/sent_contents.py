"""The keyed ids that an import has sent itself: of each key, the content that it sent last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fullstory.records.insert_ids import (
    KEYED_ID_BYTES,
    content_of,
    key_of,
    keyed_ids,
    packed,
)
from airflow_provider_fullstory.syncs.insert_ids.scratch import contents_of, keys_of
from airflow_provider_fullstory.syncs.insert_ids.sent_ids import SentIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter


class SentContents(SentIds):
    """
    Keep the keyed ids that an import sends, so that none is sent twice in a row.

    Here an id is doubtful if its key came before, since it is to be compared with what was sent under it.

    :param filter_bits: The size of the filter before them, as a power of two.
    """

    def __init__(self, filter_bits: int) -> None:
        super().__init__(filter_bits, KEYED_ID_BYTES)

    def add(self, ids: Sequence[int]) -> None:
        """Add ids that are sent."""
        self._scratch.write(packed(ids, KEYED_ID_BYTES))

    def told_apart(
        self, ids: Sequence[int], known: IdFilter, imported: Callable[[Sequence[int]], set[int]]
    ) -> tuple[set[int], set[int]]:
        """
        Return the ids that were imported, and the doubtful ones, some of which were imported too.

        :param ids: Ids that are to be sent.
        :param known: A filter with the contents that were imported.
        :param imported: Returns those of some ids that were imported.
        """
        return imported([one for one in ids if content_of(one) in known]), self.doubtful(ids)

    def doubtful(self, ids: Iterable[int]) -> set[int]:
        """
        Return the doubtful ids.

        :param ids: Ids that are to be sent.
        """
        ids = list(ids)
        keys = super().doubtful(map(key_of, ids))
        return {one for one in ids if key_of(one) in keys} if keys else keys

    def among(self, ids: Iterable[int]) -> set[int]:
        """Return what was sent last under the keys of some ids."""
        keys = set(map(key_of, ids))
        last: dict[int, int] = {}
        if keys:
            for block in self._scratch.blocks():
                sent = zip(keys_of(block, KEYED_ID_BYTES), contents_of(block, KEYED_ID_BYTES), strict=True)
                last.update((key, content) for key, content in sent if key in keys)
        return set(keyed_ids(last, last.values()))
