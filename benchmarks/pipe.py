"""
How full the pipe to FullStory is kept: a large import against its ideal.

``python -m benchmarks.pipe`` runs the operator on a query that gives full batches, against an emulator in a
separate process that takes a fixed time per batch and works on ten at once. The ideal is that time for
each round of ten batches: no client can be faster within FullStory's limits. What the import adds to it is
the time until the first ten batches are made (the processor's), until finished jobs are noticed, and until
the next batches have arrived.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import logging
import math
import os
import platform
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from demo.emulator import Emulator

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient

RESULTS = Path(__file__).with_name("results") / "pipe.json"
BATCH_PATH = "/v2/events/batch"
QUERY = """
    WITH RECURSIVE numbers (number) AS (
        SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {records}
    )
    SELECT 'customer-' || (number % 1000) AS "user.uid", number AS order_id, number / 100.0 AS total,
        'delivered to the front door' AS status
    FROM numbers
"""


@dataclasses.dataclass(frozen=True)
class Sync:
    """
    Say what is imported, and what FullStory is like.

    :param batches: How many full batches.
    :param batch_size: Records of each.
    :param at_once: Batches that FullStory works on at the same time.
    :param processing_seconds: How long FullStory works on a batch.
    :param answer_seconds: How long FullStory takes to accept a batch, on top of reading it.
    :param max_parallel_uploads: The operator's argument of that name.
    """

    batches: int
    batch_size: int
    at_once: int
    processing_seconds: float
    answer_seconds: float
    max_parallel_uploads: int

    @property
    def records(self) -> int:
        """How many records are imported."""
        return self.batches * self.batch_size

    @property
    def ideal_seconds(self) -> float:
        """How long FullStory takes if it never has to wait for the next batch."""
        return math.ceil(self.batches / self.at_once) * self.processing_seconds


@dataclasses.dataclass(frozen=True)
class Measurement:
    """
    Hold what was measured.

    :param ratio: Of the time taken to the ideal.
    :param until_full: Seconds until FullStory was working on that many for the first time.
    :param refill_median: Seconds from the end of a job until FullStory worked on a batch in its place.
    :param until_noticed: Seconds from the end of the last job until the import knew.
    :param refused_requests: Answers other than 200.
    :param looks: Requests for the status of a job.
    :param answers_median: Seconds that the emulator took to accept a batch.
    """

    ideal_seconds: float
    seconds: float
    ratio: float
    until_full: float
    refill_median: float
    refill_longest: float
    until_noticed: float
    imported: int
    most_unfinished_records: int
    refused_requests: int
    looks: int
    answers_median: float
    answers_longest: float
    client_cpu_seconds: float
    client_peak_mb: float


def measure(sync: Sync) -> Measurement:
    """
    Run a sync.

    :param sync: What is to be imported.
    """
    with tempfile.TemporaryDirectory(prefix="fullstory-pipe-") as directory:
        emulator = Emulator(Path(directory), sync.processing_seconds)
        client = emulator.start()
        try:
            client.configure(
                concurrent_batches=sync.at_once,
                max_unfinished_records=sync.at_once * sync.batch_size,
                event_quota=10**9,
            )
            if sync.answer_seconds:
                client.order_fault(
                    method="POST", path=BATCH_PATH, delay_seconds=sync.answer_seconds, times=10**6
                )
            return _measured(sync, client, Path(directory))
        finally:
            emulator.stop()


def _measured(sync: Sync, client: EmulatorClient, directory: Path) -> Measurement:
    os.environ["AIRFLOW_CONN_FULLSTORY_DEFAULT"] = client.connection_json()
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(
        {"conn_type": "sqlite", "host": str(directory / "warehouse.db")}
    )
    operator = FullStoryImportEventsOperator(
        task_id="sync",
        sql_conn_id="warehouse",
        sql=QUERY.format(records=sync.records),
        event_name="Order Updated",
        batch_size=sync.batch_size,
        max_parallel_uploads=sync.max_parallel_uploads,
        max_outstanding_records=sync.at_once * sync.batch_size,
        deferrable=False,
    )
    cpu, start = time.process_time(), time.time()
    report = operator.execute(_context(directory.name))
    end, cpu = time.time(), time.process_time() - cpu
    seconds = end - start
    jobs = client.jobs()
    created = sorted(_seconds(job["created"]) for job in jobs)
    finished = sorted(_seconds(job["finished"]) for job in jobs)
    refills = [begin - before for begin, before in zip(created[sync.at_once :], finished, strict=False)]
    requests = client.requests()
    answers = [
        request["seconds"]
        for request in requests
        if request["path"] == BATCH_PATH and request["status"] == 200
    ]
    return Measurement(
        ideal_seconds=sync.ideal_seconds,
        seconds=round(seconds, 2),
        ratio=round(seconds / sync.ideal_seconds, 4),
        until_full=round(created[min(sync.at_once, len(created)) - 1] - start, 2),
        refill_median=round(statistics.median(refills), 3) if refills else 0.0,
        refill_longest=round(max(refills, default=0.0), 3),
        until_noticed=round(end - finished[-1], 2),
        imported=report["imported"],
        most_unfinished_records=client.most_unfinished()["records"],
        refused_requests=sum(request["status"] != 200 for request in requests),
        looks=sum(request["path"].startswith(BATCH_PATH + "/") for request in requests),
        answers_median=round(statistics.median(answers), 3),
        answers_longest=round(max(answers), 3),
        client_cpu_seconds=round(cpu, 1),
        client_peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _context(run_id: str) -> Any:
    instance = SimpleNamespace(
        dag_id="pipe",
        run_id=run_id,
        task_id="sync",
        map_index=-1,
        try_number=1,
        max_tries=0,
        xcom_push=lambda **_: None,
    )
    return {"ti": instance, "task_instance": instance, "run_id": run_id}


def machine() -> dict[str, object]:
    """Return what the numbers depend on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 2**30, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "airflow": importlib.metadata.version("apache-airflow"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--batches", type=int, default=60)
    add("--batch-size", type=int, default=50_000)
    add("--at-once", type=int, default=10, help="batches that FullStory works on at the same time")
    add("--processing-seconds", type=float, default=20.0)
    add("--answer-seconds", type=float, default=0.0, help="how long FullStory takes to accept a batch")
    add("--max-parallel-uploads", type=int, default=4)
    add("--output", type=Path, default=RESULTS)
    add("--verbose", action="store_true", help="show the log of the import")
    arguments = vars(parser.parse_args())
    output, verbose = arguments.pop("output"), arguments.pop("verbose")
    sync, facts = Sync(**arguments), machine()
    if not verbose:
        logging.disable(logging.WARNING)
    measurement = measure(sync)
    for name, value in (dataclasses.asdict(sync) | dataclasses.asdict(measurement)).items():
        print(f"{name.replace('_', ' '):28}{value:>14,}")
    output.parent.mkdir(exist_ok=True)
    written = {
        "machine": facts,
        "sync": dataclasses.asdict(sync),
        "measured": dataclasses.asdict(measurement),
    }
    output.write_text(json.dumps(written, indent=2) + "\n")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
