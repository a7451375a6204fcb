"""The command shows what a task would send, with connections that only Airflow's database has."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_fullstory.preview.command import main

DAG = """
import datetime

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
from beside import ORDERS

print("A DAG file may print.")

with DAG("shop", schedule="@daily", start_date=datetime.datetime(2026, 1, 1), catchup=False):
    FullStoryImportEventsOperator(
        task_id="orders",
        sql=ORDERS,
        parameters={
            "start": "{{ data_interval_start }}",
            "end": "{{ data_interval_end }}",
            "status": "{{ dag_run.conf.get('status', var.value.get('status', 'none')) }}",
        },
        sql_conn_id="warehouse",
        event_name="Order",
        mapping={"user.uid": "customer"},
        fullstory_conn_id="nowhere",
    )
    FullStoryImportUsersOperator(
        task_id="customers", sql="customers.sql", sql_conn_id="warehouse", fullstory_conn_id="nowhere"
    )
    FullStoryImportEventsOperator.partial(task_id="mapped", sql_conn_id="warehouse", event_name="Order", mapping={"user.uid": "uid"}).expand(
        sql=[f"SELECT '{{{{ ds }}}}' AS day, 'u{n}' AS uid, '2026-01-02T10:00:00Z' AS timestamp" for n in (1, 2)]
    )
    BaseOperator(task_id="empty")
    FullStoryImportEventsOperator(
        task_id="from_xcom", events="{{ ti.xcom_pull(task_ids='empty')['events'] }}", event_name="Order"
    )
    FullStoryImportEventsOperator(task_id="wrong", sql="{{ nothing.at_all }}", sql_conn_id="warehouse")
    FullStoryImportEventsOperator(task_id="unconnected", sql="SELECT 1", sql_conn_id="missing", event_name="A")
"""
BESIDE = """
ORDERS = (
    "SELECT id AS order_id, customer, ordered_at AS timestamp, :start AS start, :end AS end,"
    " :status AS status FROM orders ORDER BY id"
)
"""
DATABASE = """
import sys

from airflow import settings
from airflow.models import Connection, Variable, import_all_models

import_all_models()
settings.configure_orm()
Connection.metadata.create_all(settings.engine)
with settings.Session() as session:
    session.add(Connection("warehouse", "sqlite", host=sys.argv[1]))
    session.add(Variable("status", "known"))
    session.commit()
"""
COUNTS = "SELECT (SELECT count(*) FROM dag_run), (SELECT count(*) FROM task_instance), (SELECT count(*) FROM dag)"


class Airflow:
    """An Airflow with a database, into which people have put a connection, a variable and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "airflow.db"
        self.environment = os.environ | {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.environment.pop("_AIRFLOW_PROCESS_CONTEXT", None)

    def run(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def preview(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("from airflow_provider_fullstory.preview.command import main; main()", *arguments)

    def lines(self, *arguments: str) -> list[str]:
        """Return what the command prints; it has to succeed."""
        shown = self.preview(*arguments)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout.splitlines()

    def refusal(self, *arguments: str) -> str:
        """Return why the command refuses to show anything."""
        refused = self.preview(*arguments)
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert refused.stdout == ""
        assert "Traceback" not in refused.stderr
        return refused.stderr

    def counts(self) -> tuple[int, ...]:
        with sqlite3.connect(self.database) as database:
            found: tuple[int, ...] = database.execute(COUNTS).fetchone()
        return found


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    folder = tmp_path_factory.mktemp("airflow")
    airflow = Airflow(folder)
    (folder / "dags").mkdir()
    (folder / "dags" / "shop.py").write_text(DAG)
    (folder / "dags" / "beside.py").write_text(BESIDE)
    (folder / "dags" / "broken.py").write_text("from airflow.models import DagRun\nraise RuntimeError('no luck')\n")
    (folder / "dags" / "customers.sql").write_text("SELECT '{{ ds }}' AS uid, 'A' AS display_name\n")
    with sqlite3.connect(folder / "warehouse.db") as warehouse:
        warehouse.execute("CREATE TABLE orders (id, customer, ordered_at)")
        warehouse.executemany(
            "INSERT INTO orders VALUES (?, ?, '2026-01-02T10:00:00Z')",
            [(1, "customer-1"), (2, ""), (3, "customer-3")],
        )
    made = airflow.run(DATABASE, str(folder / "warehouse.db"))
    assert made.returncode == 0, made.stderr
    return airflow


def test_all_of_it(airflow):
    for a in (["orders", "--logical-date", "2026-01-03"],["orders","--conf",'{"status": "x"}'],["customers","--logical-date","2026-01-03T01:00+02:00"],["mapped"],["mapped","--map-index","1"],["mapped","--map-index","7"],["from_xcom"],["wrong"],["unconnected"],["empty"],["orders","--map-index","1"],["orders","--logical-date","x"]):
        r=airflow.preview("shop",*a)
        print("=====",a,r.returncode); print(r.stdout); print(r.stderr[-2500:])
    print(airflow.preview("shops","orders").stderr)
    assert airflow.counts() == (0, 0, 0)
