"""The command shows what a task would send, with connections that only Airflow's database has."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_fullstory.preview.command import main

IS_AIRFLOW_3 = importlib.util.find_spec("airflow.sdk") is not None
DAG = """
import datetime

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
from beside import ORDERS

print("A DAG file may print.")

with DAG("shop", schedule=None, start_date=datetime.datetime(2026, 1, 1), catchup=False):
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
    query = "SELECT '{{ ds }}' AS day, 'u%s' AS uid, '2026-01-02T10:00:00Z' AS timestamp"
    FullStoryImportEventsOperator.partial(
        task_id="mapped", sql_conn_id="warehouse", event_name="Order", mapping={"user.uid": "uid"}
    ).expand(sql=[query % 1, query % 2])
    BaseOperator(task_id="empty")
    FullStoryImportEventsOperator(task_id="from_xcom", events="{{ ti.xcom_pull('empty')['events'] }}")
    FullStoryImportEventsOperator(task_id="wrong", sql="{{ nothing.at_all }}", sql_conn_id="warehouse")
    FullStoryImportEventsOperator(task_id="unconnected", sql="A", sql_conn_id="missing", event_name="A")
"""
BESIDE = """
ORDERS = (
    "SELECT id AS order_id, customer, ordered_at AS timestamp, :start AS start, :end AS end,"
    " :status AS status FROM orders ORDER BY id"
)
"""
DATABASE = """
import datetime
import json
import sys

from airflow import settings
from airflow.models import Connection, DagRun, Variable
from airflow.utils.db import initdb

initdb()
day = datetime.datetime(2026, 1, 5, tzinfo=datetime.timezone.utc)
interval = (day, day + datetime.timedelta(days=1))
name = "logical_date" if hasattr(DagRun, "run_after") else "execution_date"
run = DagRun("shop", "scheduled", run_type="scheduled", conf={"status": "of the run"}, state="success",
             data_interval=interval, **{name: day})
if name == "logical_date":
    run.run_after = interval[1]
with settings.Session() as session:
    session.add(Connection("warehouse", "sqlite", host=sys.argv[1]))
    session.add(Variable("status", "known"))
    session.add(run)
    session.commit()
"""
EACH = """
import json, sys
from airflow_provider_fullstory.preview.command import main

for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as ended:
        sys.stderr.write(f"ended with {ended.code}\\n")
"""
#: What cannot be shown, and why.
REFUSED = {
    "shops orders": "broken.py: RuntimeError: no luck",
    "shop nothing": "no task 'nothing' that imports records",
    "shop empty": "Tasks that do: customers, from_xcom, mapped, orders, unconnected, wrong.",
    "shop orders --map-index 0": "is not mapped: leave out --map-index",
    "shop mapped": "is mapped: choose an instance with --map-index",
    "shop mapped --map-index 2": "has 2 instances, and --map-index begins at 0",
    # Airflow 2 reads XCom outside of tasks too, but no task has returned anything.
    "shop from_xcom": "only a running task can read" if IS_AIRFLOW_3 else "'None' has no attribute 'events'",
    "shop wrong": "cannot be rendered: UndefinedError: 'nothing' is undefined",
    "shop unconnected": "no connection 'missing', which sql_conn_id names",
}


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

    def content(self) -> list[str]:
        """Return all that the database holds."""
        with sqlite3.connect(self.database) as database:
            return list(database.iterdump())


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    folder = tmp_path_factory.mktemp("airflow")
    airflow = Airflow(folder)
    (folder / "dags").mkdir()
    (folder / "dags" / "shop.py").write_text(DAG)
    (folder / "dags" / "beside.py").write_text(BESIDE)
    (folder / "dags" / "broken.py").write_text(
        "from airflow.models import DagRun\nraise RuntimeError('no luck')\n"
    )
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


def test_events_are_shown_as_they_would_be_sent(airflow: Airflow) -> None:
    lines = airflow.lines("shop", "orders", "--logical-date", "2026-01-03")
    assert lines[0] == "Preview of an import from the query on 'warehouse'; nothing is sent."
    assert "  customer -> user.uid: text" in lines
    assert "Records read: 3 (all of them); 1 of them are invalid." in lines
    assert lines[-1].startswith("Batches: 1, ")
    [first, _] = [json.loads(line) for line in lines if line.startswith("  {")]
    assert first["user"] == {"uid": "customer-1"}
    # As of a run that is triggered with that date, whose variables come from Airflow's database too.
    day = "2026-01-03 00:00:00+00:00"
    assert first["properties"] == {"order_id": 1, "start": day, "end": day, "status": "known"}


def test_templates_see_the_run_of_the_logical_date_and_the_configuration(airflow: Airflow) -> None:
    def properties(*arguments: str) -> dict[str, object]:
        lines = airflow.lines("shop", "orders", "--logical-date", "2026-01-05T01:00:00+01:00", *arguments)
        found: dict[str, object] = json.loads(next(line for line in lines if line.startswith("  {")))[
            "properties"
        ]
        return found

    interval = {"order_id": 1, "start": "2026-01-05 00:00:00+00:00", "end": "2026-01-06 00:00:00+00:00"}
    assert properties() == interval | {"status": "of the run"}
    assert properties("--conf", '{"status": "mine"}') == interval | {"status": "mine"}


def test_users_are_shown_from_a_file_with_a_query(airflow: Airflow) -> None:
    lines = airflow.lines("shop", "customers", "--logical-date", "2026-01-03")
    assert '  {"display_name":"A","uid":"2026-01-03"}' in lines


def test_one_instance_of_a_mapped_task_is_shown(airflow: Airflow) -> None:
    lines = airflow.lines(
        "shop", "mapped", "--map-index", "1", "--logical-date", "2026-01-03", "--limit", "all"
    )
    [event] = [json.loads(line) for line in lines if line.startswith("  {")]
    assert event["user"] == {"uid": "u2"}
    assert event["properties"] == {"day": "2026-01-03"}


def test_what_cannot_be_shown_is_refused(airflow: Airflow) -> None:
    """Refusals are of one process, since each takes seconds to begin."""
    refused = airflow.run(EACH, json.dumps([arguments.split() for arguments in REFUSED]))
    assert refused.stdout == ""
    *refusals, _ = refused.stderr.split("ended with 2\n")
    assert len(refusals) == len(REFUSED), refused.stderr
    for refusal, reason in zip(refusals, REFUSED.values(), strict=True):
        assert reason in refusal


def test_nothing_is_written_to_the_database_of_airflow(airflow: Airflow) -> None:
    before = airflow.content()
    airflow.lines("shop", "orders", "--logical-date", "2026-01-05")
    airflow.lines("shop", "mapped", "--map-index", "0")
    assert airflow.content() == before


@pytest.mark.parametrize(
    "arguments", [["--conf", "[]"], ["--limit", "0"], ["--logical-date", "soon"]], ids=str
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["shop", "orders", *arguments])
    assert f"argument {arguments[0]}: " in capsys.readouterr().err
