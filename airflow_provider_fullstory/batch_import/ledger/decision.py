"""
Decide what a try does with a batch, given its entry: one table, without I/O.

FullStory recognizes a repeated request by its idempotency key, for 24 hours
(developer.fullstory.com/server/idempotent-requests). After that, a batch whose job is not known has an
unknown outcome.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.ledger.entries import Entry


class Decision(enum.Enum):
    """Say what to do with a batch."""

    #: Enter it in the ledger and post it.
    SEND = enum.auto()
    #: Post it under the key of its entry: FullStory answers as it did before.
    REPLAY = enum.auto()
    #: Enter it again and post it under another key, which FullStory does not recognize.
    RESEND = enum.auto()
    #: Post nothing: its job counts.
    AWAIT = enum.auto()
    #: Decide about each half: FullStory found the whole too large.
    SEND_HALVES = enum.auto()
    #: Fail: an earlier try sent something else in its place.
    CHANGED = enum.auto()
    #: Fail: its outcome is unknown.
    UNKNOWN = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """
    What a decision depends on besides the entry.

    :param resends_unknown: Whether a batch of unknown outcome is sent again (``on_ambiguous="resend"``).
    :param resends_changed: Whether a batch is sent although an earlier try sent another one in its place
        (``on_source_change="resend"``).
    :param empty_rounds: Entries of rounds below this number have no records in FullStory, since the import
        ended with none.
    :param is_empty: Whether FullStory certainly has no batch of the import.
    :param sent_since: Since when earlier tries without a ledger may have sent batches, in seconds since the
        epoch; None if there were none.
    """

    resends_unknown: bool = False
    resends_changed: bool = False
    empty_rounds: int = 0
    is_empty: bool = False
    sent_since: float | None = None


def decide(
    entry: Entry | None, batch: Batch, now: float, policy: Policy, *, is_lost: bool = False
) -> Decision:
    """
    Return what to do with a batch.

    :param entry: The entry in the batch's place.
    :param now: Seconds since the epoch.
    :param is_lost: Whether FullStory no longer reports the outcome of the entry's job: it vanished, or ended
        without counts.
    """
    if entry is None:
        if policy.sent_since is None:
            return Decision.SEND
        return _repeat(policy.sent_since, now, policy, Decision.SEND)
    is_same = entry.digest == batch.digest
    is_free = entry.round < policy.empty_rounds or entry.is_refused
    if is_free and is_same:
        # Under the old key, FullStory would repeat the error that it answered with.
        return Decision.RESEND
    if is_free and (policy.is_empty or not entry.is_refused):
        return Decision.SEND
    if not is_same:
        return Decision.SEND if policy.resends_changed else Decision.CHANGED
    return _decide_same(entry, now, policy, is_lost=is_lost)


def _decide_same(entry: Entry, now: float, policy: Policy, *, is_lost: bool) -> Decision:
    """Decide about a batch that did not change since an earlier try sent it."""
    if entry.is_split:
        return Decision.SEND_HALVES
    if entry.job_id is not None and not is_lost:
        return Decision.AWAIT
    if entry.job_id is not None:
        return Decision.RESEND if policy.resends_unknown else Decision.UNKNOWN
    if entry.has_failed and policy.resends_unknown:
        return Decision.RESEND
    return _repeat(entry.at, now, policy, Decision.RESEND)


def _repeat(sent_at: float, now: float, policy: Policy, again: Decision) -> Decision:
    """Decide about a batch that may have been sent, and whose answer was lost."""
    if now < sent_at + IDEMPOTENCY_SECONDS:
        return Decision.REPLAY
    return again if policy.resends_unknown else Decision.UNKNOWN
