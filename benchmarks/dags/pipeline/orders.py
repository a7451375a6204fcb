"""The operator as a contender: it imports the orders, and writes down what its task process took."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from benchmarks.orders import EVENT_NAME, QUERY
from benchmarks.process import Measurement, peak_bytes

_begun: dict[str, Any] = {}


def _begin(_: Any) -> None:
    _begun.update(bytes=peak_bytes(), at=time.perf_counter())
    # The operator's own first step, so it counts. Where both are installed, Airflow prefers psycopg to
    # psycopg2, which all other contenders use.
    from airflow.providers.postgres.hooks import postgres  # noqa: PLC0415

    postgres.USE_PSYCOPG3 = False


def _end(context: Any, report: Any) -> None:
    measurement = Measurement(
        seconds=time.perf_counter() - _begun["at"],
        peak_bytes=peak_bytes(),
        before_bytes=_begun["bytes"],
        result=report["records"] - report["invalid"],
    )
    file = Path(os.environ["BENCHMARK_RESULTS"]) / f"{context['run_id']}.json"
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(measurement)))
    partial.rename(file)


for number in range(int(os.environ["BENCHMARK_SINKS"])):
    with DAG(f"import_orders_{number}", schedule=None, catchup=False) as dag:
        FullStoryImportEventsOperator(
            task_id="import_orders",
            fullstory_conn_id=f"fullstory_{number}",
            sql_conn_id="warehouse",
            sql=QUERY,
            event_name=EVENT_NAME,
            wait_for_completion=False,
            pre_execute=_begin,
            post_execute=_end,
        )
    globals()[dag.dag_id] = dag
