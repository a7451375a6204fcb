"""The engine of this package with everything on: mapping, every rule, idempotency keys, a lasting ledger."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from typing import TYPE_CHECKING, Any

import psycopg2
import requests
from requests.adapters import HTTPAdapter
from upath import UPath

from airflow_provider_fullstory.api import http, jobs, protocol
from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
from airflow_provider_fullstory.batch_import.ledger.stores import FolderStore
from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
from airflow_provider_fullstory.batch_import.sending.importer import MAX_PARALLEL_UPLOADS, Importer
from airflow_provider_fullstory.batch_import.sending.sender import Sender
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records, map_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.sources.iterables import records_of
from airflow_provider_fullstory.sources.query import query
from airflow_provider_fullstory.syncs.hold import take
from airflow_provider_fullstory.syncs.import_files import import_folder
from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds
from airflow_provider_fullstory.syncs.memory import ImportMemory, ImportWitness
from airflow_provider_fullstory.syncs.record import read_record
from benchmarks.orders import EVENT_NAME, QUERY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_fullstory.api.jobs import Job, JobStatus
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from benchmarks.place import Place

_OPTIONS = MappingOptions(EVENTS, name=EVENT_NAME)
_ONE_DAY = 24 * 60 * 60


class _Database:
    """
    Connect as Airflow's hook for PostgreSQL does, without Airflow's memory.

    :param place: Where the database is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def get_conn(self) -> Any:
        return psycopg2.connect(**self._place.database)


class _Client:
    """
    Send as this package's hook does, without Airflow's memory.

    :param place: Where FullStory is.
    """

    def __init__(self, place: Place) -> None:
        self._url = place.fullstory
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=MAX_PARALLEL_UPLOADS))
        self._session.headers["Authorization"] = protocol.authorization(place.api_key)

    def create_import(
        self,
        body: bytes,
        idempotency_key: str,
        *,
        sent_before: float | None = None,  # noqa: ARG002 - Nothing is sent twice here.
    ) -> Job:
        return self._call(jobs.create_import(Resource.EVENTS, body, idempotency_key))

    def get_job_status(self, job_id: str) -> JobStatus:
        return self._call(jobs.job_status(Resource.EVENTS, job_id))

    def _call(self, call: protocol.Call[Any]) -> Any:
        request = call.request
        answer = self._session.request(
            request.method, self._url + request.path, data=request.body, headers=dict(request.headers)
        )
        return call.result(http.Response(answer.status_code, answer.headers, answer.content))


class _CountingStore(FolderStore):
    """Keep a ledger in a folder, and count what is written to it."""

    writes = 0
    largest = 0

    def set(self, key: str, value: dict[str, Any]) -> None:
        self.writes += 1
        self.largest = max(self.largest, len(json.dumps(value)))
        super().set(key, value)


@dataclasses.dataclass(frozen=True)
class Sent:
    """
    What was sent.

    :param report: The operator's report.
    :param ledger_writes: How often something was written to the ledger.
    :param largest_ledger_write: The most bytes of one write.
    """

    report: ImportReport
    ledger_writes: int
    largest_ledger_write: int


def send(place: Place) -> int:
    """Send all orders."""
    report = send_query(place, QUERY).report
    return report.records - report.invalid


def send_query(place: Place, sql: str) -> Sent:
    """
    Send the rows of a query.

    :param place: Where to.
    :param sql: The query.
    """
    with query(_Database(place), sql, None) as result:  # type: ignore[arg-type]  # All it asks for.
        return _send(place, map_rows(result.columns, result.chunks, _OPTIONS), _OPTIONS)


def send_sync(place: Place, insert_id: str, sync: str) -> dict[str, Any]:
    """
    Send the orders as a sync with insert ids does.

    :param place: Where to.
    :param insert_id: Columns with commas between them, or ``*``.
    :param sync: The folder of the sync, with its record.
    """
    options = dataclasses.replace(_OPTIONS, insert_id=insert_id.split(","))
    folder = Folder(UPath(f"file://{sync}"))  # type: ignore[arg-type]
    record = read_record(folder)
    with (
        take(folder, "benchmark", deadline=0) as hold,
        ImportedIds(folder, record.insert_ids) as imported,
        query(_Database(place), QUERY, None) as result,  # type: ignore[arg-type]  # All it asks for.
    ):
        files = import_folder(folder, record.imports + 1)
        memory = ImportMemory(imported, files, lambda _: None, lambda: None)
        chunks = map_rows(result.columns, result.chunks, options)
        report = _send(place, chunks, options, memory=memory, witness=ImportWitness(hold, files)).report
        files.remove()
    return {"records": report.records, "skipped": report.skipped}


def send_records(place: Place, records: Any) -> Sent:
    """
    Send records that come as values, or from a file.

    :param place: Where to.
    :param records: What the operator takes as ``events``.
    """
    # Events in a file have their names.
    options = MappingOptions(EVENTS) if isinstance(records, str) else _OPTIONS
    return _send(place, map_records(_records(records), options), options)


def _records(records: Any) -> Iterable[Any]:
    if not isinstance(records, str):
        return records_of(records)
    # Airflow's own kind of path, which a URI would become, takes Airflow's memory.
    return records_of(UPath(records))


def _send(
    place: Place,
    chunks: Iterable[MappedChunk],
    options: MappingOptions,
    *,
    memory: ImportMemory | None = None,
    witness: ImportWitness | None = None,
) -> Sent:
    with tempfile.TemporaryDirectory() as folder:
        store = _CountingStore(Folder(UPath(f"file://{folder}")))  # type: ignore[arg-type]
        ledger = Ledger(store, witness=witness)
        ledger.begin(None, try_number=1, sent_since=None)
        client = _Client(place)
        importer = Importer(
            ledger,
            client,
            max_parallel_uploads=4,
            max_outstanding_records=500_000,
            poll_interval=2.0,
            deadline=time.time() + _ONE_DAY,
        )
        sending = Sender(
            RunIdentity("benchmark", "run", "engine"),
            BatchLimits(),
            options,
            importer,
            RefusalLog(EVENTS, {}, shows_records=True, shows_values=False),
            refused=None,
            memory=memory,
            remaining_quota=lambda: None,
        )
        report, submissions = sending.streamed(chunks)
        ledger.sent(report, submissions[-1].ordinal if submissions else 0)
    return Sent(report, store.writes, store.largest)
