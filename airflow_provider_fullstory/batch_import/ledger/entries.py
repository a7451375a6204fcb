"""What the ledger holds of a batch."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(slots=True)
class Entry:
    """
    What is known of one batch.

    :param name: The batch's place in the import: ``12``, or ``12.1`` for its first half.
    :param digest: SHA-256 of its body, in hex.
    :param idempotency_key: The key under which it was sent.
    :param records: How many records it holds.
    :param at: When it was first sent under that key, in seconds since the epoch.
    :param round: How often the import's counts had been verified when it was sent; see ``Policy``.
    :param job_id: The job that FullStory answered with.
    :param is_split: Whether FullStory found it too large, so that its halves count instead.
    :param is_refused: Whether FullStory certainly did not take it.
    :param has_failed: Whether FullStory answered with a server error when it was sent again under that key.
    """

    name: str
    digest: str
    idempotency_key: str
    records: int
    at: float
    round: int = 0
    job_id: str | None = None
    is_split: bool = False
    is_refused: bool = False
    has_failed: bool = False
