"""The note of an annotation: written before it is posted, so that it is posted at most once."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import hashlib
import logging
import time
import uuid
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.batch_import.ledger.stores import json_of, object_of
from airflow_provider_fullstory.batch_import.storage.retention import (
    KEPT_DAYS,
    note_use,
    noted_since,
    remove_old,
)
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryError,
    FullStoryLedgerError,
)
from airflow_provider_fullstory.task.state import HISTORY, last_used

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_fullstory.api.annotations import Annotation, NewAnnotation
    from airflow_provider_fullstory.batch_import.ledger.stores import Store
    from airflow_provider_fullstory.batch_import.storage.folder import Folder

_NOBODY_KNOWS: Final = (
    "Nobody can know whether FullStory has the annotation, and a second one could not be deleted: look for "
    "it in FullStory's charts."
)

log = logging.getLogger(__name__)


class Stage(enum.StrEnum):
    """How far an annotation is."""

    UNPOSTED = "unposted"
    POSTING = "posting"
    POSTED = "posted"
    #: No note says what earlier tries did.
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Entry:
    """
    What is written down of an annotation.

    :param stage: How far it is.
    :param at: Since when, in seconds since the epoch.
    :param digest: Digest of the text that was sent.
    :param refusals: How often it was sent, and surely did not come to FullStory.
    :param answer: The annotation as FullStory has it.
    """

    stage: Stage
    at: float = 0.0
    digest: str = ""
    refusals: int = 0
    answer: dict[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Place:
    """
    Where the note of an annotation is kept.

    :param store: Holds it.
    :param key: Its key in the store.
    :param description: Where that is, for the log.
    :param again: How to post an annotation again on purpose, for the log; may be empty.
    :param is_kept: Whether later tries find what this one notes.
    :param is_lasting: Whether a missing note means that nothing was posted. Else what earlier tries noted may
        be gone, or they noted nothing.
    :param runs: The folder of all runs of the task, None if the note is not in a folder.
    :param name: Name of the run's folder in it.
    :param sent_since: When earlier tries of a cleared run can have posted, in seconds since the epoch: a note
        that the folder misses means nothing if that is before the folder was in use.
    """

    store: Store
    key: str
    description: str
    again: str = ""
    is_kept: bool = True
    is_lasting: bool = True
    runs: Folder | None = None
    name: str = ""
    sent_since: float | None = None


class AnnotationNote:
    """
    Say whether an annotation may be posted, and write down what became of it.

    :param place: Where the note is kept.
    :param is_first: Whether there were no earlier tries.
    """

    def __init__(self, place: Place, *, is_first: bool) -> None:
        self._place = place
        self._is_first = is_first
        self._entry = Entry(Stage.UNKNOWN)
        self._has_begun = False
        self._unknown_why = ""
        #: The annotation as FullStory has it, None if nobody can know.
        self.answer: dict[str, str] | None = None

    @property
    def description(self) -> str:
        """What keeps the annotation from being posted twice, for the log: a line or two."""
        return self._place.description

    @property
    def is_retriable(self) -> bool:
        """Whether a later try posts the annotation if this one surely did not."""
        return self._place.is_kept or self._place.is_lasting

    def note_try(self) -> None:
        """
        Read the note, and note a try that has posted nothing yet.

        This comes first: if the try fails before anything is sent, the next one knows that nothing was sent.

        :raises FullStoryStorageError: If the note cannot be read or written; nothing was sent.
        """
        place = self._place
        if place.runs is not None:
            note_use(place.runs, place.name, time.time())
            place.store.set(HISTORY, {"used_at": time.time()})
        try:
            entry = self._read()
        except FullStoryLedgerError as error:
            log.warning("%s", error)
            entry = Entry(Stage.UNKNOWN)
            self._unknown_why = "The note of earlier tries cannot be read"
        if entry is None:
            entry = Entry(Stage.UNPOSTED if self._is_first or self._misses_nothing() else Stage.UNKNOWN)
            if entry.stage is Stage.UNPOSTED:
                self._write(entry)
        self._entry = entry
        self.answer = entry.answer

    def allows(self, annotation: NewAnnotation) -> bool:
        """Return whether an annotation may be posted; if it may not, the log says why."""
        entry = self._entry
        if entry.stage is Stage.UNPOSTED:
            return True
        if entry.stage is Stage.POSTED and entry.digest == _digest(annotation.text):
            log.info(
                "FullStory has this annotation since %s, %s. It is not posted again.",
                _written(entry.at),
                _times(entry.answer or {}),
            )
        else:
            log.warning("Nothing was posted. %s %s", self._reason(), self._place.again)
        return False

    def _reason(self) -> str:
        """Return why nothing may be posted."""
        entry = self._entry
        if entry.stage is Stage.POSTED:
            text = (entry.answer or {}).get("text")
            return (
                f"The text has changed since {_written(entry.at)}, when an earlier try posted: {text}\n"
                "FullStory can neither change nor delete that annotation."
            )
        known = self._unknown_why or f"No note says what earlier tries did{self._loss()}"
        if entry.stage is Stage.POSTING:
            known = f"An earlier try sent this annotation at {_written(entry.at)}, and noted no answer"
        return f"{known}. {_NOBODY_KNOWS}"

    def begin(self, annotation: NewAnnotation) -> None:
        """
        Note that an annotation is about to be posted.

        :raises FullStoryStorageError: If that cannot be noted; it must not be posted then.
        :raises FullStoryAmbiguousError: If another try has begun to post it.
        """
        if not self._claim():
            raise FullStoryAmbiguousError(
                "Another try of this task has begun to post the annotation, and noted no more."
            )
        # From here on the note is that of this try alone.
        self._has_begun = True
        self._write(
            dataclasses.replace(
                self._entry, stage=Stage.POSTING, at=time.time(), digest=_digest(annotation.text)
            )
        )

    def end(self, answer: Annotation) -> None:
        """Note that FullStory has the annotation, and remove the notes of old runs."""
        self.answer = {name: getattr(answer, name) for name in answer.__struct_fields__}
        log.info("FullStory has the annotation, %s: %s", _times(self.answer), answer.text)
        try:
            self._write(
                dataclasses.replace(self._entry, stage=Stage.POSTED, at=time.time(), answer=self.answer)
            )
            if (runs := self._place.runs) is not None:
                remove_old(runs, time.time(), lambda name: last_used(runs.folder(name)))
        except FullStoryError as error:
            log.warning(
                "FullStory has the annotation, but that could not be noted as a whole. It will not be posted "
                "again. %s",
                error,
            )

    def fail(self, error: FullStoryError) -> None:
        """Note what is known after a failure, and add it to the error."""
        if error.is_ambiguous:
            error.add(f"{_NOBODY_KNOWS} It is not posted again. {self._place.again}".rstrip())
            return
        error.add("This try posted nothing.")
        # What earlier tries noted stays.
        if self._has_begun:
            try:
                self._write(Entry(Stage.UNPOSTED, refusals=self._entry.refusals + 1))
            except FullStoryError as failure:
                error.add(f"That could not be noted, so later tries may post nothing: {failure}")
        if not self.is_retriable:
            error.add(
                "No note tells that to a later try, so it will post nothing: set state_uri, or let each try "
                "post with durable=False."
            )

    def _claim(self) -> bool:
        """Return whether no other try has read the same note and been faster."""
        place, token = self._place, uuid.uuid4().hex.encode()
        # Airflow may take a try for dead that is still alive, and begin the next.
        if place.runs is None:
            # Airflow's store has nothing that only one of two tries can do: the second must not come between
            # this look at it and the next write.
            return self._read() == self._entry
        claim = f"ledger/{place.key}.{self._entry.refusals}.claim"
        return place.runs.folder(place.name).create(claim, token) == token

    def _misses_nothing(self) -> bool:
        """Return whether a missing note means that nothing was posted."""
        place = self._place
        if place.runs is None or place.sent_since is None:
            return place.is_lasting
        return noted_since(place.runs) <= place.sent_since

    def _loss(self) -> str:
        """Return what may have become of a note, where it is in a folder."""
        if self._place.runs is None:
            return ""
        return f": notes are kept for {KEPT_DAYS} days, and this folder may be newer than the run"

    def _read(self) -> Entry | None:
        known = self._place.store.get(self._place.key)
        return None if known is None else object_of(known, Entry)

    def _write(self, entry: Entry) -> None:
        self._place.store.set(self._place.key, json_of(entry))
        self._entry = entry


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _times(answer: Mapping[str, str]) -> str:
    return f"from {answer.get('start_time') or '?'} to {answer.get('end_time') or '?'}"


def _written(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
