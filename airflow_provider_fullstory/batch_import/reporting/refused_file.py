"""
The file of refused records: each with its reason, in a form that can be sent again.

It holds one JSON object a line. Invalid records are written while the import is sent. Rejected records are
known once FullStory's jobs are finished: then the file is written again, with its invalid records, so that
writing it twice gives the same file.

A file belongs to one import. Its lines name the import; before there are lines, a claim beside the file does,
from before anything is sent until the import is accounted for. Storages have no locks, but most can write a
file on the condition that there is none. If a storage cannot, two imports that claim a file within the time
of a request may both continue. Each checks its claim before and after it writes its lines, and an import that
has lost its claim fails with an error.
"""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import logging
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.batch_import.reporting.fingerprints import FingerprintFolder, SentImport
from airflow_provider_fullstory.batch_import.storage.spool import Spool
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryInputError,
    FullStoryStorageError,
)
from airflow_provider_fullstory.records.redaction import value_at
from airflow_provider_fullstory.records.refused_records import OUTCOME, REFUSAL, with_types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.api.jobs import RecordError
    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: Bytes of a line; if the file is known to be this import's, a line of any length is read.
_MOST_OF_A_FOREIGN_LINE: Final = 32 * 2**20

#: How a record was refused, in the words of the report.
INVALID: Final = "invalid"
REJECTED: Final = "rejected"

log = logging.getLogger(__name__)


class RefusedFile:
    """
    The refused records of one import.

    :param kind: The kind of records.
    :param folder: The folder of the file.
    :param name: Its name; ``.gz`` at its end compresses it.
    :param owner: The name of the import, so that no other import's records are written over.
    :param location: Its URI.
    :param is_given: Whether it may be the file of another task, whose jobs this one waits for.
    :param others: Fingerprints of imports whose invalid records are in other files.
    """

    def __init__(
        self,
        kind: RecordKind,
        folder: Folder,
        name: str,
        owner: str,
        location: str,
        *,
        is_given: bool = False,
        others: Sequence[FingerprintFolder] = (),
    ) -> None:
        self._kind = kind
        self._folder = folder
        self._name = name
        self._location = location
        self.fingerprints = FingerprintFolder(folder, name)
        self._others = others
        self._own = owner
        self._is_given = is_given

    def __str__(self) -> str:
        return self._location

    @cached_property
    def _owner(self) -> str:
        if not self._is_given:
            return self._own
        return (
            self.fingerprints.sent_import().owner
            or self._claimant()
            or _import_in(_refusal_of(self._first_line() or b""))
            or self._own
        )

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """
        Claim the file for this import, which keeps it until ``release``.

        The claim is given back if the import fails before anything was sent.

        :raises FullStoryInputError: If the file, or the claim to it, is another import's.
        """
        self._claim(
            "Nothing was sent. Give each run its own: put {{ run_id }} into rejected_uri (and "
            "{{ ti.map_index }} if the task is mapped), or end it with / for a folder; or move the file "
            "away once it is dealt with."
        )
        try:
            yield
        except Exception:
            with suppress(FullStoryError):
                if not self.fingerprints.is_begun:
                    self._give_back()
            raise

    def release(self) -> None:
        """Remove all but the file, once the import is accounted for."""
        self.fingerprints.remove()
        # Last, so that no other import writes here before.
        self._give_back()

    def _give_back(self) -> None:
        if self._claimant() == self._owner:
            self._folder.remove(self._claim_name)

    def _claim(self, state: str) -> None:
        """
        Claim the file, which this import may have claimed before.

        :param state: What was sent, and what to do, for the message of the error.
        :raises FullStoryInputError: If the file, or the claim to it, is another import's.
        """
        self._check_lines(state)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        claim = ENCODER.encode({"import": self._owner, "since": now})
        held = _object(self._folder.create(self._claim_name, claim))
        if held.get("import") != self._owner:
            raise FullStoryInputError(
                f"rejected_uri is {self}, which is claimed for the refused records of "
                f"{held.get('import', 'an unknown import')} since {held.get('since', 'an unknown time')}. "
                f"{state} If that import never continues, remove {self._folder.location(self._claim_name)}."
            )
        try:
            # Again: an import that held the claim before wrote the file before it gave the claim back.
            self._check_lines(state)
        except FullStoryInputError:
            self._give_back()
            raise

    def _check_lines(self, state: str) -> None:
        """Refuse to write over lines of another import."""
        line = self._first_line()
        owner = _import_in(_refusal_of(line or b""))
        if line == b"" or owner == self._owner:
            return
        whose = f"the refused records of {owner}" if owner else "something else than refused records"
        raise FullStoryInputError(f"rejected_uri is {self}, which holds {whose}; it would be lost. {state}")

    def _claimant(self) -> str | None:
        content = self._folder.read(self._claim_name)
        return None if content is None else _import_in(_object(content))

    @property
    def _claim_name(self) -> str:
        return f"{self._name}.claim"

    def _first_line(self) -> bytes | None:
        """Return the first line, up to the length of a line of ours, None if the file is not text."""
        try:
            return next(self._lines(_MOST_OF_A_FOREIGN_LINE), b"")
        except _NotReadableError:
            return None

    @contextmanager
    def writing(self, sent_import: SentImport) -> Iterator[InvalidRecords]:
        """Take invalid records; they are in the file once ``commit`` was called."""
        with Spool(self._name) as spool:
            yield InvalidRecords(self, spool, sent_import)

    def write_sent_import(self, sent_import: SentImport) -> None:
        """Keep what is known once all batches were sent."""
        with _adding("All batches were sent, and a retry sends none of them again."):
            self.fingerprints.write_sent_import(dataclasses.replace(sent_import, owner=self._owner))

    @property
    def exists(self) -> bool:
        """Whether there is any line in it."""
        return self._first_line() != b""

    @property
    def _all_fingerprints(self) -> list[FingerprintFolder]:
        return [self.fingerprints, *self._others]

    def is_complete(self, invalid: int, rejected: Mapping[str, int]) -> bool:
        """
        Return whether the file was completed before, when more may have been known of the import than now.

        :param invalid: How many invalid records it has to hold.
        :param rejected: How many records each job rejected, if any.
        """
        here, by_job = 0, Counter[str]()
        for refusal in map(_refusal_of, self._lines()):
            if self._is_own(refusal):
                here += refusal.get(OUTCOME) == INVALID
                by_job.update([str(refusal["job_id"])] if refusal.get(OUTCOME) == REJECTED else [])
        return here == invalid and by_job == rejected

    def add_rejected(self, rejected: Iterable[tuple[str, Sequence[RecordError]]], invalid: int) -> None:
        """
        Add the records that FullStory rejected.

        :param rejected: The rejected records, some at a time, and the job that rejected them.
        :param invalid: How many invalid records it has to hold.
        """
        known = [(fingerprints, fingerprints.sent_import()) for fingerprints in self._all_fingerprints]
        with Spool(self._name) as spool:
            for line in self._lines():
                refusal = _refusal_of(line)
                if refusal.get(OUTCOME) != REJECTED or not self._is_own(refusal):
                    spool.write(line)
            if spool.records < invalid:
                log.warning(
                    "%s holds %d of the %d invalid records; an earlier try wrote the others elsewhere.",
                    self,
                    spool.records,
                    invalid,
                )
            for job_id, records in rejected:
                fingerprints, sent_import = next(
                    (pair for pair in known if job_id in pair[1].jobs), (self.fingerprints, SentImport())
                )
                for line in self._rejected_lines(fingerprints, sent_import, job_id, records):
                    spool.write(line)
            self.commit(spool)

    def commit(self, spool: Spool) -> None:
        """
        Replace the file by lines, or remove it if there are none.

        :raises FullStoryInputError: If another import has taken the file.
        """
        if not spool.records and not self.exists:
            return
        self._claim(
            "The refused records of this import are in no file, and what was sent is in FullStory. Move that "
            "file away, then clear this task, which sends nothing again."
        )
        if spool.records:
            self._folder.write(self._name, spool.finished())
        else:
            self._folder.remove(self._name)
        if self._claimant() != self._owner:
            raise FullStoryInputError(
                f"rejected_uri is {self}, which another import wrote at the same moment: its refused "
                "records may be lost. Give each run a file of its own, then clear the task of that import, "
                "which sends nothing again."
            )

    def line(self, record: Any, refusal: Mapping[str, Any], sent_import: SentImport) -> bytes:
        """
        Return a line of the file.

        :param record: The record; what all records of the import share is added to it.
        :param refusal: What is known of the refusal.
        :param sent_import: What is known of the import.
        """
        key = {name: value_at(record, path) for name, path in sent_import.keys.items()}
        if isinstance(record, dict):
            record = sent_import.shared | record
        about = {**refusal, **({"key": key} if key else {}), "import": self._owner}
        return ENCODER.encode({self._kind.noun: record, REFUSAL: about}) + b"\n"

    def _rejected_lines(
        self,
        fingerprints: FingerprintFolder,
        sent_import: SentImport,
        job_id: str,
        records: Sequence[RecordError],
    ) -> Iterator[bytes]:
        batch = sent_import.jobs.get(job_id)
        echoes = [record.record or {} for record in records]
        positions = fingerprints.positions(self._kind, batch, echoes)
        for record, echo, position in zip(records, echoes, positions, strict=True):
            refusal = {
                OUTCOME: REJECTED,
                "code": record.code,
                "message": record.message,
                "position": position,
                "job_id": job_id,
                "batch": batch,
            }
            # Records that this package does not import need no types to be read back.
            sent = (record.shared or {}) | (with_types(self._kind, echo))
            yield self.line(sent, refusal, sent_import)

    def _lines(self, most: int = -1) -> Iterator[bytes]:
        """Yield lines, in parts if one has more bytes than ``most``."""
        file = self._folder.open(self._name)
        if file is None:
            return
        with file:
            plain = gzip.GzipFile(fileobj=file) if self._name.endswith(".gz") else file
            try:
                yield from iter(partial(plain.readline, most), b"")
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise _NotReadableError(f"{self} could not be read: {error}.") from error

    def _is_own(self, refusal: Mapping[str, Any]) -> bool:
        return refusal.get("import") == self._owner


def _refusal_of(line: bytes) -> Mapping[str, Any]:
    """Return the refusal in a line, empty if the line is not of a file of refused records."""
    refusal = _object(line).get(REFUSAL)
    return refusal if isinstance(refusal, Mapping) else {}


def _import_in(about: Mapping[str, Any]) -> str | None:
    """Return the import that a line or a claim names, None if it is neither."""
    name = about.get("import")
    return name if isinstance(name, str) else None


def _object(content: bytes) -> Mapping[str, Any]:
    """Return a JSON object, an empty one if it is anything else."""
    try:
        value = DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        return {}
    return value if isinstance(value, Mapping) else {}


@contextmanager
def _adding(sentence: str) -> Iterator[None]:
    """Add a sentence of the caller to an error of a storage."""
    try:
        yield
    except FullStoryStorageError as error:
        error.add(sentence)
        raise


class _NotReadableError(FullStoryStorageError):
    """A file is not compressed as its name says."""


class InvalidRecords:
    """
    Take the invalid records of an import.

    :param file: The file that they will be in.
    :param spool: Holds them until then.
    :param sent_import: What is known of the import.
    """

    def __init__(self, file: RefusedFile, spool: Spool, sent_import: SentImport) -> None:
        self._file = file
        self._spool = spool
        self._sent_import = sent_import

    def add(self, invalid: Iterable[InvalidRecord]) -> None:
        """Take records."""
        for record in invalid:
            refusal = {
                OUTCOME: INVALID,
                "code": record.refusal.code,
                "message": record.refusal.reason,
                "position": record.position,
            }
            self._spool.write(self._file.line(record.record, refusal, self._sent_import))

    def commit(self) -> None:
        """Replace the file that an earlier try or import of this task has left."""
        with _adding("A retry writes the file again, and sends nothing again that FullStory has."):
            self._file.commit(self._spool)
