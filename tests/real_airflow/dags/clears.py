"""Imports of small tables. A file beside this one says how; tests change it as people change DAGs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, get_current_context, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

#: Of each DAG the arguments of its import, by its id; and in which "form" the import stands in the DAG.
IMPORTS = Path(__file__).with_name("clears.json")
QUERY = 'SELECT number, customer, email, ordered_at AS "timestamp" FROM {table} WHERE {which} ORDER BY number'
EVERY_OTHER = QUERY.replace("{which}", "number %% 2 = %(part)s")


def plain(table: str, arguments: dict[str, Any]) -> None:
    FullStoryImportEventsOperator(sql=QUERY.format(table=table, which="true"), **arguments)


def mapped(table: str, arguments: dict[str, Any]) -> None:
    FullStoryImportEventsOperator.partial(sql=EVERY_OTHER.format(table=table), **arguments).expand(
        parameters=[{"part": 0}, {"part": 1}]
    )


def nested(table: str, arguments: dict[str, Any]) -> None:
    """Execute two operators inside one task, with the same records."""

    @task(task_id=arguments["task_id"], retries=arguments["retries"])
    def execute_both() -> None:
        for name in ("first", "second"):
            operator = FullStoryImportEventsOperator(
                sql=QUERY.format(table=table, which="true"), **arguments | {"task_id": name}
            )
            operator.execute(get_current_context())

    execute_both()


FORMS = {"plain": plain, "mapped": mapped, "nested": nested}

for name, chosen in (json.loads(IMPORTS.read_text()) if IMPORTS.exists() else {}).items():
    form = FORMS[chosen.pop("form", "plain")]
    with DAG(name, schedule=None, catchup=False) as dag:
        form(
            name,
            {
                "task_id": "import_orders",
                "sql_conn_id": "warehouse",
                "event_name": name,
                "batch_size": 4,
                "max_parallel_uploads": 1,
                "poll_interval": 0.5,
                "mapping": {"user.uid": "customer"},
                **chosen,
            },
        )
    globals()[name] = dag
