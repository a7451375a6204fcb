"""
Keep the properties of your users in FullStory as they are in a table of the warehouse, every day.

The query reads the whole table, but only users are sent whose row differs from what the sync imported last
for them: the whole record is its insert id. So any schedule fits, a run can be cleared at any time, and a day
without Airflow is made up for by the next run.

Each column but "uid", "email" and "display_name" becomes a property of the user. A column that is NULL leaves
the property in FullStory as it was, and a row that is gone leaves the user.

Connections: "warehouse" (a database) and "fullstory_default" (an API key of level Architect or above).
Variable: "fullstory_state_uri", such as "s3://aws_default@bucket/fullstory".
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportUsersOperator

with DAG(
    "example_fullstory_user_properties",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportUsersOperator(
        task_id="import_customers",
        sql_conn_id="warehouse",
        sql="""
            SELECT customer_id AS uid, email, name AS display_name, plan, lifetime_value, customer_since
            FROM customers
            ORDER BY customer_id
        """,
        insert_id="*",
        state_uri="{{ var.value.fullstory_state_uri }}",
        deferrable=True,
    )
