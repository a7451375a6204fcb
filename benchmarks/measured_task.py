"""What a task of a benchmark does before and after its work: it writes down what that took."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.process import Measurement, peak_bytes

_begun: dict[str, Any] = {}


def begin(_: Any) -> None:
    """Begin to measure; this is the task's ``pre_execute``."""
    _begun.update(bytes=peak_bytes(), at=time.perf_counter())
    # The operator's own first step, so it counts. Where both are installed, Airflow prefers psycopg to
    # psycopg2, which all other contenders use.
    from airflow.providers.postgres.hooks import postgres  # noqa: PLC0415

    postgres.USE_PSYCOPG3 = False


def end(context: Any, report: Any) -> None:
    """Write down what the task took, and how many records it has sent; this is its ``post_execute``."""
    measurement = Measurement(
        seconds=time.perf_counter() - _begun["at"],
        peak_bytes=peak_bytes(),
        before_bytes=_begun["bytes"],
        result=report["records"] - report["invalid"] - report["skipped"],
    )
    file = Path(os.environ["BENCHMARK_RESULTS"]) / f"{context['run_id']}.json"
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(measurement)))
    partial.rename(file)
