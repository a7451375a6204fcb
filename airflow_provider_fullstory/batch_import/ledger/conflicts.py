"""The errors of a source that changed, and of a batch whose outcome is unknown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.exceptions import FullStoryAmbiguousError, FullStorySourceChangedError
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.ledger.entries import Entry


def source_changed(
    what: str,
    *,
    ending: str,
    version: str,
    has_other_arguments: bool,
    is_upserted: bool,
    is_data_at_hand: bool,
) -> FullStorySourceChangedError:
    """
    Return the error of a source that no longer gives what earlier tries sent.

    :param what: The difference, as a sentence.
    :param ending: How that import ended, as a sentence; empty if it did not.
    :param version: The version of this package that sent it.
    :param has_other_arguments: Whether the arguments of the task changed.
    :param is_upserted: Whether FullStory changes what it has when a record is sent again.
    :param is_data_at_hand: Whether the records themselves were given, so that arguments cannot be compared.
    """
    upgrade = (
        f";\nor this package was upgraded, from {version} to {__version__}" if version != __version__ else ""
    )
    if is_data_at_hand:
        reason = (
            "Its records or their order changed, or its arguments (batch_size, mapping, ...), or the item of "
            f"this mapped task{upgrade}"
        )
    elif has_other_arguments:
        reason = (
            "Its arguments changed (sql, parameters, mapping, batch_size, ...), or the item of this mapped "
            f"task{upgrade}.\nWith the old ones, clearing the task resumes where the last try ended"
        )
    else:
        reason = (
            f"Its rows or their order changed{upgrade}.\nORDER BY a unique column; stage_batches=True keeps "
            "the batches of the first try until the import succeeds"
        )
    then = (
        "FullStory will then have these records as they are now"
        if is_upserted
        else "FullStory will then have some records twice"
    )
    return FullStorySourceChangedError(
        "The source no longer gives the batches that it gave in an earlier try.\n"
        f"{reason}.\n"
        f'on_source_change="resend" sends all that changed; {then}.\n'
        f"{what}.{ending}"
    )


def unknown_outcome(batch: Batch, entry: Entry | None, sent_since: float | None) -> FullStoryAmbiguousError:
    """
    Return the error of a batch whose outcome is unknown.

    :param entry: Its entry, None if the ledger of earlier tries is gone.
    :param sent_since: Since when earlier tries may have sent it, in seconds since the epoch.
    """
    if entry is None:
        what = (
            f"An earlier try may have sent batch {batch.name} ({plural(batch.records, 'record')}), and its "
            f"ledger is gone; the run was due {utc(sent_since or 0.0)}. Airflow may have emptied its task "
            "state store when the task was cleared; state_uri keeps the ledger"
        )
    elif entry.job_id:
        what = f"Batch {entry.name} {fate(entry)}, and FullStory no longer reports the outcome of that job"
    else:
        what = (
            f"Batch {entry.name} ({plural(entry.records, 'record')}) was sent {utc(entry.at)}, and no answer "
            "arrived. FullStory recognizes a repeated batch only for 24 hours"
        )
    return FullStoryAmbiguousError(
        f"It is unknown whether FullStory has batch {batch.name}, and it was not sent again.\n"
        'Look for its records in FullStory; if they are missing, set on_ambiguous="resend" and\n'
        "clear the task: it sends only these batches again.\n"
        f"{what}."
    )


def fate(entry: Entry) -> str:
    """Return the outcome of a batch of an earlier try, as part of a sentence."""
    if entry.job_id:
        return (
            f"was sent {utc(entry.at)} and accepted as job {entry.job_id} ({plural(entry.records, 'record')})"
        )
    return f"was sent {utc(entry.at)} and may be in FullStory ({plural(entry.records, 'record')})"


def utc(seconds: float) -> str:
    """Return a time, in seconds since the epoch, for a message."""
    return f"at {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))} UTC"
