"""Data intervals that select nothing, and what the task says of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from jinja2 import UndefinedError

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.task.intervals import WHAT_TO_DO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

NOON = pendulum.datetime(2026, 3, 2, 12, tz="UTC")
ONE = NOON.add(hours=1)
EMPTY = "The data interval of this run is empty: it starts and ends at 2026-03-02T12:00:00+00:00."
NOTHING = "The source gave no records: nothing was sent to FullStory."
QUERY = "SELECT customer AS \"user.uid\" FROM orders WHERE at >= '{}' AND at < '{}'"
START, END = "{{ data_interval_start }}", "{{ data_interval_end }}"


@pytest.fixture
def orders(database: Path, emulator: EmulatorClient) -> None:
    """Make the table of a shop with one order, and a FullStory that takes it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE orders (at TEXT, customer TEXT)")
        connection.execute("INSERT INTO orders VALUES ('2026-03-02 12:30:00+00:00', 'c')")


def rendered(context: dict[str, Any], **arguments: Any) -> FullStoryImportEventsOperator:
    """Render a task as Airflow does before it executes it."""
    with DAG("intervals", schedule=None):
        operator = FullStoryImportEventsOperator(
            task_id="import", sql_conn_id="warehouse", event_name="Ordered", **arguments
        )
    operator.render_template_fields(context)
    return operator


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Give what was logged so far, in whatever way this Airflow does it."""

    def read() -> str:
        output = capfd.readouterr()
        return caplog.text + output.out + output.err

    return read


@pytest.mark.parametrize(
    "arguments",
    [
        {"sql": QUERY.format(START, END)},
        {"sql": QUERY.format("{{ dag_run.data_interval_start }}", "{{ dag_run.data_interval_end }}")},
        {
            "sql": 'SELECT customer AS "user.uid" FROM orders WHERE at >= :start AND at < :end',
            "parameters": {"start": START, "end": END},
        },
    ],
)
@pytest.mark.parametrize("end", [NOON, ONE])
def test_an_empty_interval_that_is_named(
    orders: None,
    context: dict[str, Any],
    log: Callable[[], str],
    arguments: dict[str, Any],
    end: pendulum.DateTime,
) -> None:
    interval = {"data_interval_start": NOON, "data_interval_end": end}
    context |= {**interval, "dag_run": interval}

    report = rendered(context, **arguments).execute(context)

    logged = log()
    assert report["records"] == (0 if end == NOON else 1)
    assert (EMPTY in logged, WHAT_TO_DO in logged, f"{EMPTY} {NOTHING}" in logged) == (end == NOON,) * 3


def test_an_empty_interval_that_is_not_named(
    orders: None,
    context: dict[str, Any],
    log: Callable[[], str],
) -> None:
    context |= {"data_interval_start": NOON, "data_interval_end": NOON, "ds": "2026-03-01"}
    query = "SELECT customer AS \"user.uid\" FROM orders WHERE at LIKE '{{ ds }} %'"

    assert rendered(context, sql=query).execute(context)["records"] == 0

    logged = log()
    assert "interval" not in logged
    assert NOTHING in logged


@pytest.mark.parametrize("name", ["data_interval_start", "data_interval_end | string", "ds", "ts_nodash"])
def test_a_run_without_a_logical_date(name: str, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException) as failure:
        rendered(context, sql=f"SELECT '{{{{ {name} }}}}'", parameters=None)
    message = str(failure.value)
    missing, *_ = name.split()
    assert message.startswith(f"A template names {missing}, but this run has no logical date")
    assert message.endswith(WHAT_TO_DO)


def test_a_run_without_an_interval_whose_template_is_rendered_all_the_same(
    orders: None,
    context: dict[str, Any],
    log: Callable[[], str],
) -> None:
    context["dag_run"] = {"data_interval_start": None}
    query = "SELECT customer AS \"user.uid\" FROM orders WHERE at = '{{ dag_run.data_interval_start }}'"

    assert rendered(context, sql=query).execute(context)["records"] == 0

    reason = "This run has no data interval, and a template of the task names it."
    assert f"{reason} {NOTHING}" in log()


def test_other_undefined_names_are_left_to_jinja(context: dict[str, Any]) -> None:
    with pytest.raises(UndefinedError, match="'prefix' is undefined"):
        rendered(context, sql="SELECT '{{ prefix }}'")
