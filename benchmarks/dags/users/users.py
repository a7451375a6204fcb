"""A sync of all customers, which writes down what its task process took."""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportUsersOperator
from benchmarks.measured_task import begin, end
from benchmarks.users import QUERY

with DAG("sync_customers", schedule=None, catchup=False):
    FullStoryImportUsersOperator(
        task_id="sync_customers",
        sql_conn_id="warehouse",
        sql=QUERY,
        insert_id="*",
        state_uri=os.environ["BENCHMARK_STATE"],
        pre_execute=begin,
        post_execute=end,
    )
