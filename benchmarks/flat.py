"""
What grows with the number of rows: the engine at several sizes, from each kind of source.

``python -m benchmarks.flat`` sends orders from a query, from a file of newline-delimited JSON, from a
generator and from a file on S3, each in its own process. It prints the peak of its memory beside what it
wrote and logged, and fails where the memory has grown with the rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import logging
from contextlib import closing, contextmanager
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks import orders
from benchmarks.contenders import engine
from benchmarks.machine import write_results
from benchmarks.pipeline import place_of, running_sink
from benchmarks.process import Measurement, measure
from demo.services import temporary_directory
from demo.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from benchmarks.place import Place
    from demo.celery.servers import S3

    _Run: TypeAlias = tuple[str, int, Measurement]

ON_S3: Final = "file on S3"
SOURCES: Final = ("query", "file", "generator", ON_S3)
#: Files of 25 and 250 MB.
S3_ROWS: Final = (60_000, 600_000)
#: More is taken only where rows stay in memory. s3fs reads blocks of 50 MiB, and has a few at a time.
MOST_BYTES: Final = {"query": 150_000_000, "file": 200_000_000, "generator": 150_000_000, ON_S3: 400_000_000}
_START: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class _Lines(logging.Handler):
    """Count what is logged."""

    count = 0
    characters = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.characters += len(record.getMessage())


def send(place: Place, source: str, rows: str, file: str) -> dict[str, Any]:
    """
    Send orders, and return what was written down and logged on the way.

    :param place: Where to.
    :param source: One of `SOURCES`.
    :param rows: How many orders to send.
    :param file: Path or URI of the file of newline-delimited JSON.
    """
    lines = _Lines()
    logger = logging.getLogger("airflow_provider_fullstory")
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    match source:
        case "query":
            sent = engine.send_query(place, f"{orders.QUERY} LIMIT {rows}")
        case "file" | "file on S3":
            sent = engine.send_records(place, file)
        case _:
            sent = engine.send_records(place, _generated(int(rows)))
    return {
        "sent": sent.report.records - sent.report.invalid,
        "batches": sent.report.batches,
        "report_bytes": len(json.dumps(sent.report.to_xcom())),
        "ledger_writes": sent.ledger_writes,
        "largest_ledger_write": sent.largest_ledger_write,
        "log_lines": lines.count,
        "log_characters": lines.characters,
    }


def _generated(rows: int) -> Iterator[dict[str, Any]]:
    for number in range(rows):
        yield {
            "order_id": number,
            "user.uid": f"customer-{number % 50_000}",
            "timestamp": _START + datetime.timedelta(seconds=number),
            "context.browser.url": f"https://shop.example.com/orders/{number}?ref=mail",
            "status": "placed",
            "total": Decimal(number % 100_000) / 100,
            "quantity": 1 + number % 7,
            "is_first": number % 3 == 0,
            "coupon": None if number % 4 else f"SPRING-{number % 100}",
            "note": None if number % 5 > 1 else f"Lieferung an Frau Müller {number % 90}",
            "details": {"channel": "app", "tags": ["réduction", f"x{number % 10}"], "items": number % 9},
        }


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 10])
    arguments = parser.parse_args()
    sizes = [int(millions * 1_000_000) for millions in arguments.millions]
    console = Console(highlight=False, soft_wrap=True)
    measured: list[_Run] = []
    with temporary_directory() as directory, running_sink(0) as sink:
        warehouse = Warehouse(directory)
        warehouse.start()
        try:
            most = max(*sizes, *S3_ROWS)
            console.print(f"Filling PostgreSQL with {most:,} orders ...")
            orders.create(warehouse, most)
            place = place_of(directory, sink)
            for source, rows, one in _measure(directory, place, sizes):
                measured.append((source, rows, one))
                console.print(f"{source}, {rows:,} rows: {one.seconds:.0f} s, {one.peak_bytes / 1e6:.1f} MB")
        finally:
            warehouse.stop()
    console.print(_table(measured))
    results = [{"source": source, "rows": rows, **dataclasses.asdict(one)} for source, rows, one in measured]
    console.print(f"Written to {write_results('flat', results)}.")


def _measure(directory: Path, place: Place, sizes: Sequence[int]) -> Iterator[_Run]:
    file = directory / "orders.ndjson"
    for rows in sizes:
        write_file(place, file, rows)
        for source in SOURCES:
            if source != ON_S3:
                yield source, rows, measure_source(place, source, rows, str(file))
    with running_s3(directory) as s3:
        for rows in S3_ROWS:
            write_file(place, file, rows)
            uri = s3.upload(file)
            yield ON_S3, rows, measure_source(place, ON_S3, rows, uri, s3.environment())


def measure_source(
    place: Place, source: str, rows: int, file: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Measurement:
    """
    Send orders in a process of its own.

    :param place: Where to.
    :param source: One of `SOURCES`.
    :param rows: How many orders to send.
    :param file: Path or URI of the file.
    :param environment: Variables that the process has besides.
    :raises RuntimeError: If not all were sent, or that took more memory than it may.
    """
    one = measure("benchmarks.flat", "send", place, source, str(rows), file, environment=environment)
    if one.result["sent"] != rows:
        raise RuntimeError(f"{source} has sent {one.result['sent']} orders.")
    if one.peak_bytes > MOST_BYTES[source]:
        raise RuntimeError(f"{source} took {one.peak_bytes / 1e6:.1f} MB for {rows:,} rows.")
    return one


@contextmanager
def running_s3(directory: Path) -> Iterator[S3]:
    """
    Run an S3, and give it.

    :param directory: Where its log goes.
    """
    # Only the environment of make bench-flat has what this imports.
    from demo.celery.servers import S3  # noqa: PLC0415

    s3 = S3(directory)
    try:
        s3.start()
        yield s3
    finally:
        s3.stop()


def write_file(place: Place, file: Path, rows: int) -> None:
    """
    Write orders as newline-delimited JSON.

    :param place: Where they are.
    :param file: The file.
    :param rows: How many.
    """
    with file.open("wb") as target, closing(psycopg2.connect(**place.database)) as connection:
        query = orders.COPY.replace("ORDER BY", f"WHERE order_id <= {rows} ORDER BY")
        connection.cursor().copy_expert(query, target)


def _table(measured: list[_Run]) -> Table:
    columns = ("Source", "Rows", "Seconds", "Peak MB", "Batches", "Ledger writes", "Largest, bytes")
    table = Table(*columns, "Log lines", "Report, bytes")
    for source, rows, one in sorted(measured, key=lambda entry: SOURCES.index(entry[0])):
        table.add_row(
            source,
            f"{rows:,}",
            f"{one.seconds:.0f}",
            f"{one.peak_bytes / 1e6:.1f}",
            *(
                str(one.result[name])
                for name in (
                    "batches",
                    "ledger_writes",
                    "largest_ledger_write",
                    "log_lines",
                    "report_bytes",
                )
            ),
        )
    return table


if __name__ == "__main__":
    main()
