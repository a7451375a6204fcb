"""What OpenLineage learns of imports and of sensors: from where to where, and how many records."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fullstory.assets.fullstory import create_asset
from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.conftest import run
from tests.logs import resume
from tests.tries import REFUSED_BY_FULLSTORY, REFUSED_HERE, breaking_source, orders

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse

pytest.importorskip("airflow.providers.openlineage")

FACET = "fullstory_import"
SQL = """
    SELECT c.uid AS "user.uid", o.total, 'Order' AS name
    FROM shop_orders o JOIN shop_customers c ON c.id = o.customer_id
    WHERE o.total >= %(least)s
    ORDER BY o.id
"""


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "batch_size": 10, **arguments}
    return FullStoryImportEventsOperator(**given)


def namespace(emulator: EmulatorClient) -> str:
    return f"fullstory://{emulator.url.partition('://')[2]}"


def rows(dataset: Any) -> int | None:
    """Return how many rows the facet of an output says were written."""
    statistics = dataset.outputFacets.get("outputStatistics")
    return None if statistics is None else statistics.rowCount


def names(datasets: list[Any]) -> list[tuple[str, str]]:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


def counts(lineage: Any) -> dict[str, Any]:
    """Return the numbers of the run facet."""
    facet = lineage.run_facets[FACET]
    numbers = ("records", "sent", "imported", "invalid", "rejected", "skipped", "batches")
    return {name: getattr(facet, name) for name in numbers} | {"jobs": len(facet.jobs)}


@pytest.fixture
def shop(postgresql: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Give a database with two tables that the connection 'warehouse' leads to."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgresql.connection_json())
    with postgresql.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS shop_orders; DROP TABLE IF EXISTS shop_customers")
        cursor.execute("CREATE TABLE shop_customers (id int, uid text)")
        cursor.execute("CREATE TABLE shop_orders (id int, customer_id int, total int)")
        cursor.execute("INSERT INTO shop_customers VALUES (1, 'ann')")
        cursor.execute("INSERT INTO shop_orders SELECT n, 1, n FROM generate_series(1, 25) AS n")
    return postgresql


def of_the_shop(**arguments: Any) -> FullStoryImportEventsOperator:
    return importing(sql=SQL, sql_conn_id="warehouse", parameters={"least": 3}, **arguments)


def columns(lineage: Any) -> dict[str, list[tuple[str, str]]]:
    """Return table and column that each field of FullStory comes from."""
    facet = lineage.outputs[0].facets["columnLineage"]
    return {
        field: [(origin.name.rpartition(".")[2], origin.field) for origin in origins.inputFields]
        for field, origins in facet.fields.items()
    }


COLUMNS = {"user.uid": [("shop_customers", "uid")], "properties.total": [("shop_orders", "total")]}


def test_the_start_of_a_query(
    emulator: EmulatorClient, shop: Warehouse, extract: Callable[[Any, str], Any]
) -> None:
    lineage = extract(of_the_shop(), "RUNNING")
    assert [name.rpartition(".")[2] for _, name in names(lineage.inputs)] == ["shop_customers", "shop_orders"]
    assert all(where.startswith("postgres://") for where, _ in names(lineage.inputs))
    assert all(name.count(".") == 2 and ".public." in name for _, name in names(lineage.inputs))
    assert names(lineage.outputs) == [(namespace(emulator), "events")]
    assert columns(lineage) == COLUMNS
    assert {origin.namespace for origin in origins(lineage)} == {where for where, _ in names(lineage.inputs)}
    assert {origin.name for origin in origins(lineage)} == {name for _, name in names(lineage.inputs)}
    assert lineage.job_facets["sql"].query.startswith('SELECT c.uid AS "user.uid"')
    assert lineage.run_facets == {}
    assert rows(lineage.outputs[0]) is None
    # Nothing was asked of FullStory for it.
    assert emulator.requests() == []


def origins(lineage: Any) -> list[Any]:
    fields = lineage.outputs[0].facets["columnLineage"].fields
    return [origin for field in fields.values() for origin in field.inputFields]


def test_the_end_of_a_query(
    emulator: EmulatorClient, shop: Warehouse, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    operator = of_the_shop(schema={"total": "real"})
    report = run(operator, context)
    lineage = extract(operator, "SUCCESS")
    assert rows(lineage.outputs[0]) == 23
    assert counts(lineage) == {
        "records": 23,
        "sent": 23,
        "imported": 23,
        "invalid": 0,
        "rejected": 0,
        "skipped": 0,
        "batches": 3,
        "jobs": 3,
    }
    assert lineage.run_facets[FACET].jobs == report["job_ids"]
    assert lineage.run_facets[FACET].resource == "events"
    assert columns(lineage) == COLUMNS
    schema = {field.name: field.type for field in lineage.outputs[0].facets["schema"].fields}
    assert schema == {"user.uid": None, "properties.total": "real", "name": None}


def test_the_end_after_a_wait_in_the_triggerer(
    emulator: EmulatorClient, shop: Warehouse, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    with patch.object(Importer, "poll", return_value=None), pytest.raises(TaskDeferred) as deferred:
        of_the_shop(deferrable=True).execute(context)
    operator = of_the_shop(deferrable=True)
    resume(operator, context, deferred.value)
    lineage = extract(operator, "SUCCESS")
    assert (rows(lineage.outputs[0]), counts(lineage)["sent"]) == (23, 23)
    assert columns(lineage) == COLUMNS


def test_a_failure_after_refused_records(
    emulator: EmulatorClient, context: Any, extract: Callable[[Any, str], Any], tmp_path: Path
) -> None:
    operator = importing(
        events=[*orders(3), REFUSED_HERE, REFUSED_BY_FULLSTORY],
        rejected_uri=f"file://{tmp_path}/refused.jsonl",
    )
    with pytest.raises(AirflowFailException):
        run(operator, context)
    lineage = extract(operator, "FAILED")
    assert names(lineage.outputs) == [(namespace(emulator), "events"), ("file", f"{tmp_path}/refused.jsonl")]
    assert [rows(dataset) for dataset in lineage.outputs] == [3, 2]
    assert counts(lineage) == {
        "records": 5,
        "sent": 4,
        "imported": 3,
        "invalid": 1,
        "rejected": 1,
        "skipped": 0,
        "batches": 1,
        "jobs": 1,
    }


def test_a_failure_while_records_are_sent_names_what_fullstory_has_accepted(
    emulator: EmulatorClient, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    events = breaking_source(orders(2_000), 1_500, RuntimeError("The source is gone."))
    operator = importing(events=events, batch_size=100)
    with pytest.raises(RuntimeError):
        run(operator, context)
    lineage = extract(operator, "FAILED")
    assert names(lineage.outputs) == [(namespace(emulator), "events")]
    assert rows(lineage.outputs[0]) is None
    batches = len(emulator.jobs())
    assert batches
    unknown = ("records", "imported", "invalid", "rejected", "skipped")
    assert counts(lineage) == dict.fromkeys(unknown) | {
        "sent": 100 * batches,
        "batches": batches,
        "jobs": batches,
    }


def test_a_failure_in_the_triggerer_names_what_was_sent(
    emulator: EmulatorClient, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    with patch.object(Importer, "poll", return_value=None), pytest.raises(TaskDeferred) as deferred:
        importing(events=orders(3), deferrable=True).execute(context)
    report = deferred.value.trigger.serialize()[1]["report"]
    operator = importing(events=orders(3), deferrable=True)
    event = {"error": "FullStoryTimeoutError", "message": "Time is up.", "report": report}
    with pytest.raises(Exception, match="Time is up"):
        operator.execute_complete(context, event)
    lineage = extract(operator, "FAILED")
    assert (counts(lineage)["sent"], counts(lineage)["imported"]) == (3, None)
    assert rows(lineage.outputs[0]) is None


def test_files_and_the_keys_that_the_mapping_names(
    emulator: EmulatorClient, context: Any, extract: Callable[[Any, str], Any], tmp_path: Path
) -> None:
    for day in (1, 2):
        with gzip.open(tmp_path / f"day-{day}.jsonl.gz", "wt") as file:
            file.write(json.dumps({"name": "Order", "customer": f"u{day}"}) + "\n")
    operator = importing(events=f"file://{tmp_path}/*.jsonl.gz", mapping={"user.uid": "customer"})
    run(operator, context)
    lineage = extract(operator, "SUCCESS")
    assert names(lineage.inputs) == [("file", str(tmp_path))]
    assert rows(lineage.outputs[0]) == 2
    [origin] = lineage.outputs[0].facets["columnLineage"].fields["user.uid"].inputFields
    assert (origin.namespace, origin.name, origin.field) == ("file", str(tmp_path), "customer")


def test_an_outlet_names_the_organization(
    emulator: EmulatorClient, extract: Callable[[Any, str], Any]
) -> None:
    outlets = [create_asset(organization="1ABC", resource=resource) for resource in ("users", "events")]
    assert names(extract(importing(events=[], outlets=outlets), "RUNNING").outputs) == [
        ("fullstory://1ABC", "events")
    ]
    users = FullStoryImportUsersOperator(task_id="import", users=[], outlets=outlets)
    assert names(extract(users, "RUNNING").outputs) == [("fullstory://1ABC", "users")]


def test_a_database_that_openlineage_does_not_know(
    emulator: EmulatorClient, database: Path, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    operator = importing(sql="""SELECT 'u1' AS "user.uid", 'Order' AS name""", sql_conn_id="warehouse")
    run(operator, context)
    lineage = extract(operator, "SUCCESS")
    assert lineage.inputs == []
    assert lineage.job_facets["sql"].query == """SELECT 'u1' AS "user.uid", 'Order' AS name"""
    assert rows(lineage.outputs[0]) == 1
    assert [field.name for field in lineage.outputs[0].facets["schema"].fields] == ["user.uid", "name"]


def test_a_query_that_the_parser_does_not_understand(
    emulator: EmulatorClient, shop: Warehouse, extract: Callable[[Any, str], Any]
) -> None:
    lineage = extract(importing(sql="SELECT (uid FROM shop_customers", sql_conn_id="warehouse"), "RUNNING")
    assert lineage.inputs == []
    assert names(lineage.outputs) == [(namespace(emulator), "events")]
    facet = lineage.run_facets["extractionError"]
    assert facet.failedTasks == 1
    assert facet.errors[0].errorMessage
    assert facet.errors[0].task == "SELECT (uid FROM shop_customers"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("broken", ["get_openlineage_database_info", "get_openlineage_database_dialect"])
def test_a_hook_that_cannot_describe_its_database_costs_the_inputs_alone(
    emulator: EmulatorClient,
    context: Any,
    extract: Callable[[Any, str], Any],
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    monkeypatch.setattr(PostgresHook, broken, Mock(side_effect=KeyError("region")))
    operator = importing(sql=SQL, parameters={"least": 6}, sql_conn_id="warehouse")
    run(operator, context)
    lineage = extract(operator, "SUCCESS")
    assert lineage.inputs == []
    assert lineage.job_facets["sql"].query.startswith("SELECT c.uid")
    assert rows(lineage.outputs[0]) == 20


def test_tables_that_a_query_reads_by_with(
    emulator: EmulatorClient, shop: Warehouse, extract: Callable[[Any, str], Any]
) -> None:
    sql = 'WITH known AS (SELECT uid FROM shop_customers) SELECT uid AS "user.uid" FROM known'
    lineage = extract(importing(sql=sql, sql_conn_id="warehouse"), "RUNNING")
    assert [name.rpartition(".")[2] for _, name in names(lineage.inputs)] == ["shop_customers"]
    assert columns(lineage) == {"user.uid": [("shop_customers", "uid")]}


def test_a_connection_that_is_missing_costs_no_more_than_the_lineage(
    emulator: EmulatorClient, extract: Callable[[Any, str], Any]
) -> None:
    lineage = extract(importing(events=[], fullstory_conn_id="not_there"), "RUNNING")
    assert (lineage.inputs, lineage.outputs, lineage.run_facets) == ([], [], {})


def test_arguments_that_cannot_work_have_no_lineage(
    emulator: EmulatorClient, extract: Callable[[Any, str], Any]
) -> None:
    lineage = extract(importing(events=[], timezone="Nowhere"), "FAILED")
    assert (lineage.inputs, lineage.outputs, lineage.run_facets) == ([], [], {})


def waiting(job_ids: Any, **arguments: Any) -> FullStoryImportJobSensor:
    return FullStoryImportJobSensor(
        **{"task_id": "wait", "job_ids": job_ids, "poke_interval": 0.01, **arguments}
    )


def test_an_import_and_the_sensor_that_waits_for_it(
    emulator: EmulatorClient, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    operator = importing(events=orders(3), wait_for_completion=False)
    report = run(operator, context)
    sent = extract(operator, "SUCCESS")
    assert rows(sent.outputs[0]) is None
    assert (counts(sent)["sent"], counts(sent)["imported"]) == (3, None)
    sensor = waiting(report)
    assert names(extract(sensor, "RUNNING").outputs) == names(sent.outputs)
    run(sensor, context)
    lineage = extract(sensor, "SUCCESS")
    assert rows(lineage.outputs[0]) == 3
    assert lineage.run_facets[FACET].jobs == sent.run_facets[FACET].jobs


def test_a_sensor_that_fails_for_refused_records(
    emulator: EmulatorClient, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    report = run(importing(events=[*orders(3), REFUSED_BY_FULLSTORY], wait_for_completion=False), context)
    sensor = waiting(report["job_ids"])
    with pytest.raises(AirflowFailException):
        run(sensor, context)
    lineage = extract(sensor, "FAILED")
    assert rows(lineage.outputs[0]) == 3
    assert (counts(lineage)["records"], counts(lineage)["rejected"]) == (4, 1)


def test_nothing_of_records_and_no_key_is_told(
    emulator: EmulatorClient, context: Any, extract: Callable[[Any, str], Any]
) -> None:
    from openlineage.client.serde import Serde

    person = {"name": "Order", "user.uid": "zq7-person", "email": "zq7@example.com"}
    operator = importing(events=[person, person | {"name": None}], max_rejected=1)
    run(operator, context)
    lineage = extract(operator, "SUCCESS")
    told = Serde.to_json({"outputs": lineage.outputs, "run": lineage.run_facets, "job": lineage.job_facets})
    assert "fullstory_import" in told
    for secret in (*emulator.keys, "zq7"):
        assert secret not in told
