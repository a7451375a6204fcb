"""The operator as a contender: it imports the orders, and writes down what its task process took."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from benchmarks.measured_task import begin, end
from benchmarks.orders import EVENT_NAME, QUERY

for number in range(int(os.environ["BENCHMARK_SINKS"])):
    with DAG(f"import_orders_{number}", schedule=None, catchup=False) as dag:
        FullStoryImportEventsOperator(
            task_id="import_orders",
            fullstory_conn_id=f"fullstory_{number}",
            sql_conn_id="warehouse",
            sql=QUERY,
            event_name=EVENT_NAME,
            wait_for_completion=False,
            pre_execute=begin,
            post_execute=end,
        )
    globals()[dag.dag_id] = dag
