"""
What the rules for a record cost, on top of mapping rows and encoding events.

``python -m benchmarks.rules`` maps and encodes the same rows, in turns with and without the rules, in one
process, and prints the median of each. Without the rules means that every check of a value, a field or an
identity answers at once that all is well; the conversions stay.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import statistics
import time
from contextlib import ExitStack
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.records import column_mapping, columns, fields
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.sources import CHUNK_ROWS

COLUMNS = [
    "order_id", "user.uid", "timestamp", "status", "total", "quantity", "is_first", "context.browser.url",
    "context.location.country", "coupon", "discount",
]  # fmt: skip
_START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def rows(count: int) -> list[tuple[Any, ...]]:
    """Return rows of eleven columns, as a database gives them."""
    return [
        (
            number,
            f"customer-{number % 1000}",
            _START + datetime.timedelta(seconds=number),
            ("placed", "paid", "delivered")[number % 3],
            Decimal(number % 10_000) / 100,
            number % 7,
            number % 2 == 0,
            f"https://shop.example.com/orders/{number}",
            ("DE", "US", "JP")[number % 3],
            None if number % 5 else f"C{number % 50}",
            number / 7,
        )
        for number in range(count)
    ]


def seconds(chunks: list[list[tuple[Any, ...]]]) -> float:
    """Return the processor's time for mapping all rows and encoding them into batches."""
    options = MappingOptions(EVENTS, name="Order Updated")
    refused: list[Any] = []
    batcher = Batcher(RunIdentity("d", "r", "t"), BatchLimits(), options, refused.extend)
    gc.collect()
    start = time.process_time()
    records = sum(batch.records for batch in batcher.batches(map_rows(COLUMNS, chunks, options)))
    took = time.process_time() - start
    if refused or records != sum(map(len, chunks)):
        raise AssertionError("The rows are not all events.")
    return took


def without_rules() -> ExitStack:
    """Return a context in which every check passes at once."""
    stack = ExitStack()
    passing: dict[type, Any] = dict.fromkeys(columns._UNIFORM, lambda _: True)
    for target, name, replacement in [
        (columns, "_UNIFORM", passing),
        (columns, "is_utf8", lambda _: True),
        (columns, "fits_64_bits", lambda _: True),
        (columns, "is_json_number", lambda _: True),
        (fields, "are_texts", lambda *_: True),
        (fields, "check_text", lambda _, text, __: text),
        (fields, "check_number", lambda _, number, __: number),
        (column_mapping, "misfits", lambda *_: {}),
        (column_mapping.ColumnMapping, "_check_identities", lambda *_: None),
    ]:
        stack.enter_context(patch.object(target, name, replacement))
    return stack


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    made = rows(arguments.rows)
    chunks = [made[start : start + CHUNK_ROWS] for start in range(0, len(made), CHUNK_ROWS)]
    seconds(chunks)
    bare: list[float] = []
    checked: list[float] = []
    for _ in range(arguments.rounds):
        with without_rules():
            bare.append(seconds(chunks))
        checked.append(seconds(chunks))
    per_row = {
        name: statistics.median(times) / len(made) * 1e6
        for name, times in (("without", bare), ("with", checked))
    }
    print(f"{len(made):,} rows of {len(COLUMNS)} columns, median of {arguments.rounds} rounds in turns")
    print(f"mapping and encoding alone   {per_row['without']:6.2f} us a row")
    print(f"with every rule checked      {per_row['with']:6.2f} us a row")
    print(f"the rules add                {(per_row['with'] / per_row['without'] - 1) * 100:6.1f} %")


if __name__ == "__main__":
    main()
