"""What Airflow renders, and what it shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

if TYPE_CHECKING:
    from pathlib import Path


def shown(operator: FullStoryImportEventsOperator) -> dict[str, Any]:
    """Return the fields as Airflow stores them for its UI."""
    from airflow.serialization.helpers import serialize_template_field

    return {
        name: serialize_template_field(getattr(operator, name), name) for name in operator.template_fields
    }


def test_every_template_field_is_an_attribute() -> None:
    operator = FullStoryImportEventsOperator(task_id="import")
    assert all(hasattr(operator, name) for name in operator.template_fields)


@pytest.mark.parametrize(
    ("field", "template"),
    [
        ("sql", "SELECT {{ n }}"),
        ("event_name", "Order {{ n }}"),
        ("parameters", {"n": "{{ n }}"}),
        ("mapping", {"user.uid": "c{{ n }}"}),
        ("shared", {"session": {"id": "{{ n }}"}}),
        ("schema", {"a": "type-{{ n }}"}),
        ("events", "s3://bucket/{{ n }}.jsonl"),
        ("timezone", "Etc/GMT{{ n }}"),
        ("sql_conn_id", "warehouse-{{ n }}"),
        ("fullstory_conn_id", "fullstory-{{ n }}"),
        ("idempotency_salt", "{{ n }}"),
    ],
)
def test_fields_are_rendered(field: str, template: Any) -> None:
    operator = FullStoryImportEventsOperator(task_id="import", **{field: template})
    operator.render_template_fields({"n": 7})
    assert "7" in str(getattr(operator, field))
    assert "{{" not in str(getattr(operator, field))
    assert "7" in str(shown(operator)[field])


def test_a_query_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "orders.sql").write_text("SELECT {{ n }}")
    with DAG("files", schedule=None, template_searchpath=[str(tmp_path)]):
        operator = FullStoryImportEventsOperator(task_id="import", sql="orders.sql")
    operator.resolve_template_files()
    operator.render_template_fields({"n": 7})
    assert operator.sql == "SELECT 7"


def test_events_are_data_which_is_neither_rendered_nor_shown() -> None:
    events = [{"name": "A", "user.uid": "somebody-special", "note": "{{ n }}", "file": "report.sql"}]
    operator = FullStoryImportEventsOperator(task_id="import", events=events)
    assert shown(operator)["events"] == "<1 records>"
    operator.resolve_template_files()
    operator.render_template_fields({"n": 7})
    assert operator.events.records == events
    assert shown(operator)["events"] == "<1 records>"


def test_text_that_was_rendered_from_rows_is_not_shown() -> None:
    operator = FullStoryImportEventsOperator(task_id="import", events="{{ rows }}")
    operator.render_template_fields({"rows": [{"user.uid": "somebody-special"}]})
    assert "somebody-special" not in str(shown(operator))


def test_outputs_of_tasks_inside_events_make_them_upstream() -> None:
    with DAG("upstream", schedule=None):
        before = FullStoryImportEventsOperator(task_id="before", events=[])
        operator = FullStoryImportEventsOperator(
            task_id="import", events=[{"name": "A", "user.uid": "u", "rows": before.output["records"]}]
        )
    assert operator.upstream_task_ids == {"before"}


def test_iterables_are_not_shown_either() -> None:
    operator = FullStoryImportEventsOperator(task_id="import")
    operator.events = iter([{"name": "A"}])
    assert shown(operator)["events"] == "<records>"
