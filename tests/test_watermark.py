"""The watermark as a DAG file has it."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.watermark import Watermark


def test_watermarks_with_the_same_arguments_are_equal() -> None:
    watermark = Watermark("updated_at", initial="2026-01-01", lag=timedelta(1))
    assert watermark == Watermark("updated_at", initial="2026-01-01", lag=timedelta(1))
    assert hash(watermark) == hash(Watermark("updated_at", initial="2026-01-01", lag=timedelta(1)))
    assert watermark != Watermark("updated_at", initial="2026-01-01")
    assert watermark != "updated_at"
    assert eval(repr(watermark), {"Watermark": Watermark, "datetime": __import__("datetime")}) == watermark


def test_the_initial_value_is_a_template() -> None:
    operator = FullStoryImportEventsOperator(
        task_id="sync",
        sql="SELECT 1",
        sql_conn_id="warehouse",
        parameters={"since": Watermark("updated_at", initial="{{ ds }}T00:00:00Z")},
        event_name="A",
    )
    operator.render_template_fields({"ds": "2026-01-01"})
    assert operator.parameters["since"].initial == "2026-01-01T00:00:00Z"


def test_it_loads_nothing_but_itself() -> None:
    code = (
        "import sys; before = set(sys.modules); import airflow_provider_fullstory.watermark; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['airflow_provider_fullstory']"
