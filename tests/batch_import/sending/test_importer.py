"""The engine keeps within FullStory's limits, and says what FullStory has when it stops."""

# ruff: noqa: ARG002 - A fake takes what the protocol passes.

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from airflow_provider_fullstory.api.jobs import Job, JobState, JobStatus
from airflow_provider_fullstory.batch_import.batching.batch import Batch, BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
from airflow_provider_fullstory.batch_import.ledger.stores import MemoryStore
from airflow_provider_fullstory.batch_import.sending.capacity import MAX_OUTSTANDING_BATCHES
from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.exceptions import (
    FullStoryBadRequestError,
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryInputError,
    FullStoryServerError,
    FullStorySourceError,
    FullStoryTimeoutError,
    FullStoryUnreachableError,
)
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records
from airflow_provider_fullstory.records.options import MappingOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPTIONS = MappingOptions(EVENTS, name="e", allow_anonymous=True)


class FakeFullStory:
    """Take batches in memory, and finish the oldest job at each poll of any."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.names: dict[str, list[int]] = {}
        self.unfinished: dict[str, int] = {}
        self.keys: list[str] = []
        self.uploading = self.most_uploading = self.most_records = self.most_jobs = 0
        self.on_upload: Callable[[list[int]], None] = lambda _: None
        self.on_poll: Callable[[], None] = lambda: None

    def create_import(
        self,
        body: bytes,
        idempotency_key: str,
        *,
        sent_before: float | None = None,
    ) -> Job:
        indexes = [event["properties"]["index"] for event in json.loads(bytes(body))["requests"]]
        with self.lock:
            self.uploading += 1
            self.most_uploading = max(self.most_uploading, self.uploading)
        try:
            self.on_upload(indexes)
        finally:
            with self.lock:
                self.uploading -= 1
        with self.lock:
            job_id = f"job-{indexes[0]}"
            self.names[job_id] = indexes
            self.keys.append(idempotency_key)
            self.unfinished[job_id] = len(indexes)
            self.most_records = max(self.most_records, sum(self.unfinished.values()))
            self.most_jobs = max(self.most_jobs, len(self.unfinished))
        return Job(job_id, JobState.PROCESSING)

    def get_job_status(self, job_id: str) -> JobStatus:
        self.on_poll()
        with self.lock:
            if self.unfinished:
                self.unfinished.pop(next(iter(self.unfinished)))
            if job_id in self.unfinished:
                return JobStatus(Job(job_id, JobState.PROCESSING))
            return JobStatus(Job(job_id, JobState.COMPLETED), len(self.names[job_id]))


@pytest.fixture
def fullstory(monkeypatch: pytest.MonkeyPatch) -> FakeFullStory:
    # The engine's pauses take no time here; what they should be is tested with JobWatch.
    monkeypatch.setattr(Importer, "_pause", lambda *_: None)
    return FakeFullStory()


def make_importer(client: Any, **options: Any) -> Importer:
    defaults = {
        "max_parallel_uploads": 4,
        "max_outstanding_records": 500_000,
        "poll_interval": 0.01,
        "deadline": time.time() + 3600,
    }
    return Importer(Ledger(MemoryStore()), client, **(defaults | options))


def batches(count: int, size: int = 1) -> Iterator[Batch]:
    batcher = Batcher(RunIdentity("d", "r", "t"), BatchLimits(records=size), OPTIONS, lambda _: None)
    return batcher.batches(map_records(({"index": n} for n in range(count * size)), OPTIONS))


def test_jobs_come_in_the_order_of_their_batches(fullstory: FakeFullStory) -> None:
    first_waits = threading.Barrier(4)
    fullstory.on_upload = lambda _: first_waits.wait(10) and None

    submissions = make_importer(fullstory).submit(batches(8, 3))

    assert [entry.ordinal for entry in submissions] == list(range(1, 9))
    assert [entry.job_id for entry in submissions] == [f"job-{n * 3}" for n in range(8)]
    assert sorted(index for indexes in fullstory.names.values() for index in indexes) == list(range(24))
    assert len(set(fullstory.keys)) == 8


@pytest.mark.parametrize("parallel", [1, 2, 16])
def test_no_more_uploads_run_at_once_than_are_allowed(fullstory: FakeFullStory, parallel: int) -> None:
    together = threading.Barrier(parallel)
    fullstory.on_upload = lambda _: together.wait(10) and None

    make_importer(fullstory, max_parallel_uploads=parallel).submit(batches(parallel * 3))

    assert fullstory.most_uploading == parallel


@pytest.mark.parametrize(("size", "most"), [(10, 10), (10, 25), (7, 20), (1, 3), (10, 1000)])
def test_no_more_records_are_unfinished_than_are_allowed(
    fullstory: FakeFullStory, size: int, most: int
) -> None:
    submissions = make_importer(fullstory, max_outstanding_records=most).submit(batches(30, size))

    assert sum(entry.records for entry in submissions) == 30 * size
    assert fullstory.most_records <= most


def test_a_batch_larger_than_all_that_may_be_unfinished_is_sent_alone(fullstory: FakeFullStory) -> None:
    make_importer(fullstory, max_outstanding_records=3).submit(batches(4, 10))

    assert (fullstory.most_records, fullstory.most_jobs) == (10, 1)


def test_no_more_jobs_are_unfinished_than_fullstory_takes(fullstory: FakeFullStory) -> None:
    make_importer(fullstory).submit(batches(450))

    assert len(fullstory.names) == 450
    assert fullstory.most_jobs <= MAX_OUTSTANDING_BATCHES


def test_batches_are_taken_only_as_uploads_get_done(fullstory: FakeFullStory) -> None:
    ahead: list[int] = []

    def source() -> Iterator[Batch]:
        for batch in batches(40):
            ahead.append(batch.ordinal - len(fullstory.names))
            yield batch

    make_importer(fullstory, max_parallel_uploads=2).submit(source())

    assert max(ahead) <= 4


def too_large_above(most: int) -> Callable[[list[int]], None]:
    def refuse(indexes: list[int]) -> None:
        if len(indexes) > most:
            raise FullStoryBodyTooLargeError("too large.", status_code=413)

    return refuse


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_a_batch_that_is_too_large_is_sent_in_halves(fullstory: FakeFullStory, most: int) -> None:
    fullstory.on_upload = too_large_above(most)

    submissions = make_importer(fullstory).submit(batches(3, 11))

    assert sum(entry.records for entry in submissions) == 33
    assert sorted(index for indexes in fullstory.names.values() for index in indexes) == list(range(33))
    assert max(entry.records for entry in submissions) <= most
    assert len(set(fullstory.keys)) == len(fullstory.keys)
    assert [entry.ordinal for entry in submissions] == sorted(entry.ordinal for entry in submissions)


def test_one_record_that_is_too_large_ends_the_import_with_its_batch_named(fullstory: FakeFullStory) -> None:
    fullstory.on_upload = too_large_above(0)

    with pytest.raises(FullStoryBodyTooLargeError, match=r"This was batch 1\.1 \(1 record\)"):
        make_importer(fullstory).submit(batches(1, 2))


def test_a_half_that_was_accepted_is_counted_where_the_other_is_refused(fullstory: FakeFullStory) -> None:
    def refuse(indexes: list[int]) -> None:
        too_large_above(2)(indexes)
        if 2 in indexes:
            raise FullStoryBadRequestError("bad.")

    fullstory.on_upload = refuse

    with pytest.raises(FullStoryBadRequestError) as caught:
        make_importer(fullstory).submit(batches(1, 4))

    assert fullstory.names == {"job-0": [0, 1]}
    assert "\nFullStory has accepted 1 batch with 2 records.\n" in str(caught.value)
    assert str(caught.value).endswith("\nJobs: job-0.")


def test_a_source_that_breaks_midway_says_what_fullstory_has(fullstory: FakeFullStory) -> None:
    # An upload that has not begun may be dropped; these have.
    in_flight = threading.Barrier(4)
    fullstory.on_upload = lambda _: in_flight.wait(10) and None

    def source() -> Iterator[Batch]:
        yield from batches(3, 5)
        in_flight.wait(10)
        raise FullStorySourceError("The query failed.")

    with pytest.raises(FullStorySourceError) as caught:
        make_importer(fullstory).submit(source())

    assert str(caught.value) == (
        "The query failed.\nFullStory has accepted 3 batches with 15 records.\n"
        "A retry sends equal batches under the same keys: for 24 hours FullStory takes none twice.\n"
        "Jobs: job-0, job-5, job-10."
    )


def test_any_error_of_a_source_is_passed_on_and_logged(
    fullstory: FakeFullStory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not caplog: Airflow's configuration of logging keeps records from it.
    log = Mock()
    monkeypatch.setattr("airflow_provider_fullstory.batch_import.sending.importer.log", log)

    # An upload that has not begun may be dropped; these have.
    in_flight = threading.Barrier(3)
    fullstory.on_upload = lambda _: in_flight.wait(10) and None

    def source() -> Iterator[Batch]:
        yield from batches(2)
        in_flight.wait(10)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_importer(fullstory).submit(source())

    assert "FullStory has accepted 2 batches with 2 records." in log.error.call_args.args[1]
    assert log.error.call_args.args[1].endswith("Jobs: job-0, job-1.")


def test_nothing_accepted_is_said_too(fullstory: FakeFullStory) -> None:
    def source() -> Iterator[Batch]:
        raise FullStorySourceError("no.")
        yield

    with pytest.raises(FullStorySourceError, match=r"^no\.\nNothing was sent in this try\.$"):
        make_importer(fullstory).submit(source())


def test_an_upload_that_fails_for_good_stops_the_rest(fullstory: FakeFullStory) -> None:
    def refuse(indexes: list[int]) -> None:
        if indexes == [2]:
            raise FullStoryBadRequestError("bad.")

    fullstory.on_upload = refuse
    taken: list[int] = []

    def source() -> Iterator[Batch]:
        for batch in batches(1000):
            taken.append(batch.ordinal)
            yield batch

    with pytest.raises(FullStoryBadRequestError) as caught:
        make_importer(fullstory, max_parallel_uploads=1).submit(source())

    assert len(taken) < 10
    assert str(caught.value).startswith("bad.\nThis was batch 3 (1 record).\nFullStory has accepted ")
    assert f"accepted {len(fullstory.names)} batches with {len(fullstory.names)} records" in str(caught.value)


def test_batches_made_before_a_source_broke_are_sent_if_there_is_capacity(fullstory: FakeFullStory) -> None:
    def source() -> Iterator[Batch]:
        yield from batches(4, 5)
        raise FullStorySourceError("The query failed.")

    with pytest.raises(FullStorySourceError, match="accepted 4 batches with 20 records"):
        make_importer(fullstory).submit(source())


def test_no_batch_waits_for_capacity_once_the_source_broke() -> None:
    class Stuck(FakeFullStory):
        def get_job_status(self, job_id: str) -> JobStatus:
            return JobStatus(Job(job_id, JobState.PROCESSING))

    def source() -> Iterator[Batch]:
        yield from batches(4, 5)
        raise FullStorySourceError("The query failed.")

    with pytest.raises(FullStorySourceError, match="accepted 2 batches with 10 records"):
        make_importer(Stuck(), max_outstanding_records=10).submit(source())


@pytest.mark.parametrize("parallel", [2, 4, 16])
def test_the_failure_that_stops_the_rest_is_raised(fullstory: FakeFullStory, parallel: int) -> None:
    def refuse(indexes: list[int]) -> None:
        if indexes[0] >= 10:
            raise FullStoryBadRequestError("bad.")

    fullstory.on_upload = refuse

    for _ in range(20):
        with pytest.raises(FullStoryBadRequestError, match="This was batch"):
            make_importer(fullstory, max_parallel_uploads=parallel).submit(batches(60))


def test_no_batches_are_no_jobs(fullstory: FakeFullStory) -> None:
    assert make_importer(fullstory).submit(iter(())) == []


def test_the_wait_ends_with_the_counts_of_all_jobs(fullstory: FakeFullStory) -> None:
    engine = make_importer(fullstory)
    submissions = engine.submit(batches(5, 2))

    outcomes = engine.wait([entry.job_id for entry in submissions])

    assert sum(outcome.imports for outcome in outcomes) == 10


def test_the_wait_tolerates_passing_failures(fullstory: FakeFullStory) -> None:
    failures = iter([FullStoryServerError("no.")] * 5)

    def fail() -> None:
        if error := next(failures, None):
            raise error

    fullstory.on_poll = fail
    engine = make_importer(fullstory)
    submissions = engine.submit(batches(2))

    assert len(engine.wait([entry.job_id for entry in submissions])) == 2


def test_an_upload_that_the_deadline_cuts_short_is_reported_as_the_deadline(fullstory: FakeFullStory) -> None:
    deadline = time.time() + 0.2

    def cut_short(_: list[int]) -> None:
        while time.time() < deadline:
            time.sleep(0.01)
        raise FullStoryUnreachableError("Time was up before the request was sent.")

    fullstory.on_upload = cut_short
    engine = make_importer(fullstory, deadline=deadline)

    with pytest.raises(FullStoryTimeoutError, match=r"^Time was up while 1 batch had no answer yet\."):
        engine.submit(batches(1))


def test_the_deadline_counts_while_records_are_worked_off(fullstory: FakeFullStory) -> None:
    class Stuck(FakeFullStory):
        def get_job_status(self, job_id: str) -> JobStatus:
            return JobStatus(Job(job_id, JobState.PROCESSING))

    engine = make_importer(Stuck(), max_outstanding_records=1, deadline=time.time() + 0.2)

    with pytest.raises(
        FullStoryTimeoutError,
        match=r"(?s)did not finish within .*\nFullStory has accepted 1 batch with 1 record",
    ):
        engine.submit(batches(2))


def test_nothing_more_is_sent_when_time_is_up(fullstory: FakeFullStory) -> None:
    engine = make_importer(fullstory, deadline=time.time() - 1)

    with pytest.raises(
        FullStoryTimeoutError, match=r"before batch 1 could be sent\.\nNothing was sent in this try\.$"
    ):
        engine.submit(batches(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_parallel_uploads": 0}, "max_parallel_uploads is 0; it must be 1 to 16."),
        ({"max_parallel_uploads": 17}, "max_parallel_uploads is 17; it must be 1 to 16."),
        ({"max_outstanding_records": 0}, "max_outstanding_records is 0; it must be above 0."),
    ],
    ids=str,
)
def test_limits_that_cannot_work_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(FullStoryInputError) as caught:
        make_importer(None, **options)

    assert str(caught.value) == message
    assert isinstance(caught.value, FullStoryError)
