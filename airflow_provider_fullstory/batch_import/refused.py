"""
The file of the records that are not in FullStory: which, why, and in a form that can be sent again.

It holds one JSON object a line. Records refused here are written while the import is sent. Those that
FullStory refused are known once its jobs are finished: then the file is written anew, with the first kind
kept, so that doing it twice gives the same file.
"""

from __future__ import annotations

import dataclasses
import gzip
import logging
import tempfile
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Final, Self

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.batch_import.traces import Facts, Traces
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryLedgerError
from airflow_provider_fullstory.records.drafts import EVENT, REFUSAL, value_at, with_types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.api.models import RecordError
    from airflow_provider_fullstory.batch_import.folder import Folder
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: Who refused a record, in the words of the report.
INVALID: Final = "invalid"
REJECTED: Final = "rejected"

log = logging.getLogger(__name__)


class RefusedFile:
    """
    The refused records of one import.

    :param folder: Where the file is.
    :param name: Its name; ``.gz`` at its end compresses it.
    :param owner: What names the import, so that no other import's records are written over.
    :param location: Its URI.
    :param is_given: Whether it may be the file of the task that imported what this one waits for.
    :param others: Traces of imports whose records refused here are in files of their own.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        owner: str,
        location: str,
        *,
        is_given: bool = False,
        others: Sequence[Traces] = (),
    ) -> None:
        self._folder = folder
        self._name = name
        self._location = location
        self.traces = Traces(folder, name)
        self._others = others
        self._own = owner
        self._is_given = is_given

    def __str__(self) -> str:
        return self._location

    @cached_property
    def _owner(self) -> str:
        if not self._is_given:
            return self._own
        known = self.traces.facts().owner or next(
            (_refusal_of(line).get("import") for line in self._lines()), None
        )
        return str(known or self._own)

    def check(self) -> None:
        """
        Refuse to write over what is not this import's.

        :raises FullStoryInputError: Where the file holds something else.
        """
        try:
            owner = next((_refusal_of(line).get("import") for line in self._lines()), self._owner)
        except _NotReadableError:
            owner = None
        if owner != self._owner:
            whose = f"the refused records of {owner}" if owner else "something else than refused records"
            raise FullStoryInputError(
                f"rejected_uri is {self}, which holds {whose}; it would be lost. Nothing was sent. Move the "
                "file away once it is dealt with, or give each run its own: put {{ run_id }} into "
                "rejected_uri (and {{ ti.map_index }} where the task is mapped), or end it with / for a "
                "folder."
            )

    @contextmanager
    def writing(self, facts: Facts) -> Iterator[InvalidRecords]:
        """
        Take the records that are refused here; they are in the file once ``commit`` was called.

        :param facts: What is known of the import before it is sent.
        """
        with _Spool(self._name) as spool:
            yield InvalidRecords(self, spool, facts)

    def write_facts(self, facts: Facts) -> None:
        """
        Keep what is known once all was sent.

        :param facts: What is known.
        """
        self.traces.write_facts(dataclasses.replace(facts, owner=self._owner))

    @property
    def exists(self) -> bool:
        """Whether there is any line in it."""
        return next(self._lines(), None) is not None

    @property
    def _all_traces(self) -> list[Traces]:
        return [self.traces, *self._others]

    def is_complete(self, invalid: int, rejected: Mapping[str, int]) -> bool:
        """
        Tell whether the file was completed before, when more may have been known of the import than now.

        :param invalid: How many records were refused here.
        :param rejected: How many each job refused, where it refused any.
        """
        here, by_job = 0, Counter[str]()
        for refusal in map(_refusal_of, self._lines()):
            if self._is_own(refusal):
                here += refusal.get("outcome") == INVALID
                by_job.update([str(refusal["job_id"])] if refusal.get("outcome") == REJECTED else [])
        return here == (0 if self._others else invalid) and by_job == rejected

    def add_rejected(self, rejected: Iterable[tuple[str, Sequence[RecordError]]], invalid: int) -> None:
        """
        Add what FullStory refused.

        :param rejected: The refused records, some at a time, and the job that refused them.
        :param invalid: How many records were refused here.
        """
        known = [(traces, traces.facts()) for traces in self._all_traces]
        with _Spool(self._name) as spool:
            for line in self._lines():
                refusal = _refusal_of(line)
                if refusal.get("outcome") != REJECTED or not self._is_own(refusal):
                    spool.write(line)
            if spool.records < invalid and not self._others:
                log.warning(
                    "%s holds %d of the %d records that were refused here; an earlier try wrote the others "
                    "elsewhere.",
                    self,
                    spool.records,
                    invalid,
                )
            for job_id, records in rejected:
                traces, facts = next(
                    (pair for pair in known if job_id in pair[1].jobs), (self.traces, Facts())
                )
                for line in self._rejected_lines(traces, facts, job_id, records):
                    spool.write(line)
            self.commit(spool)

    def commit(self, spool: _Spool) -> None:
        """
        Put lines in the place of the file, or remove it where there are none.

        :param spool: The lines.
        """
        if spool.records:
            self._folder.write(self._name, spool.finished())
        elif next(self._lines(), None) is not None:
            self._folder.remove(self._name)

    def line(self, record: Any, refusal: Mapping[str, Any], facts: Facts, item: str = EVENT) -> bytes:
        """
        Return a line of the file.

        :param record: The record; what all events of the import share is added to it.
        :param refusal: What is known of the refusal.
        :param facts: What is known of the import.
        :param item: What the record is.
        """
        key = {name: value_at(record, path) for name, path in facts.keys.items()}
        if isinstance(record, dict):
            record = facts.shared | record
        about = {**refusal, **({"key": key} if key else {}), "import": self._owner}
        return ENCODER.encode({item: record, REFUSAL: about}) + b"\n"

    def _rejected_lines(
        self, traces: Traces, facts: Facts, job_id: str, records: Sequence[RecordError]
    ) -> Iterator[bytes]:
        batch = facts.jobs.get(job_id)
        echoes = [record.event or record.user or {} for record in records]
        positions = traces.positions(batch, echoes)
        for record, echo, position in zip(records, echoes, positions, strict=True):
            refusal = {
                "outcome": REJECTED,
                "code": record.code,
                "message": record.message,
                "position": position,
                "job_id": job_id,
                "batch": batch,
            }
            item = EVENT if record.user is None else "user"
            sent = with_types(echo) if item == EVENT else echo
            yield self.line((record.shared or {}) | sent, refusal, facts, item)

    def _lines(self) -> Iterator[bytes]:
        file = self._folder.open(self._name)
        if file is None:
            return
        with file:
            try:
                plain = gzip.GzipFile(fileobj=file) if self._name.endswith(".gz") else file
                yield from iter(plain.readline, b"")
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise _NotReadableError(f"{self} could not be read: {error}.") from error
            except OSError as error:
                raise FullStoryLedgerError(f"{self} could not be read: {error}.") from error

    def _is_own(self, refusal: Mapping[str, Any]) -> bool:
        return refusal.get("import") == self._owner


def _refusal_of(line: bytes) -> Mapping[str, Any]:
    """Return what a line says of the refusal; nothing, where it is no line of such a file."""
    try:
        refusal = DECODER.decode(line)[REFUSAL]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, LookupError, RecursionError, ArithmeticError):
        return {}
    return refusal if isinstance(refusal, Mapping) else {}


class _NotReadableError(FullStoryLedgerError):
    """Say that a file is not compressed as its name says."""


class InvalidRecords:
    """
    Take the records of an import that are refused here.

    :param file: The file that they will be in.
    :param spool: Holds them until then.
    :param facts: What is known of the import.
    """

    def __init__(self, file: RefusedFile, spool: _Spool, facts: Facts) -> None:
        self._file = file
        self._spool = spool
        self._facts = facts

    def add(self, invalid: Iterable[InvalidRecord]) -> None:
        """
        Take some more.

        :param invalid: The records.
        """
        for record in invalid:
            refusal = {
                "outcome": INVALID,
                "code": record.refusal.code,
                "message": record.refusal.reason,
                "position": record.position,
            }
            self._spool.write(self._file.line(record.record, refusal, self._facts))

    def commit(self) -> None:
        """Put them in the place of what an earlier try, or an import before, has left of this task."""
        self._file.commit(self._spool)


class _Spool:
    """Hold lines on the worker's disk: a file in object storage is written as a whole."""

    def __init__(self, name: str) -> None:
        self._is_compressed = name.endswith(".gz")
        self._stack = ExitStack()
        self.records = 0

    def __enter__(self) -> Self:
        self._file: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())
        self._out: IO[bytes] | gzip.GzipFile = (
            gzip.open(self._file, "wb") if self._is_compressed else self._file
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def write(self, line: bytes) -> None:
        self._out.write(line)
        self.records += 1

    def finished(self) -> IO[bytes]:
        """Return the file from its beginning."""
        if self._is_compressed:
            self._out.close()
        self._file.seek(0)
        return self._file
