"""The events of OpenLineage, from a real Airflow with its provider and a transport that collects."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.processes import wait_for
from demo.services import Services, running_services, temporary_directory
from tests.real_airflow.orders import ORDERS
from tests.real_airflow.runs import assert_keeps_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.all_airflows

ENDS = {"COMPLETE", "FAIL", "ABORT"}


@dataclass(frozen=True)
class Collected:
    """An Airflow, and the events that its OpenLineage has written to a file."""

    services: Services
    file: Path

    def text(self) -> str:
        return self.file.read_text() if self.file.exists() else ""

    def tasks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the events of each task, in their order."""
        tasks = defaultdict(list)
        for line in self.text().splitlines():
            event = json.loads(line)
            _, _, task_id = event["job"]["name"].partition(".")
            if task_id:
                tasks[task_id].append(event)
        return tasks

    def has_ended(self, *task_ids: str) -> bool:
        tasks = self.tasks()
        return all(any(event["eventType"] in ENDS for event in tasks[task_id]) for task_id in task_ids)


@pytest.fixture(scope="module")
def collected() -> Iterator[Collected]:
    """Run the DAG once, in an Airflow of its own: no other test wants its tasks to write events."""
    pytest.importorskip("airflow.providers.openlineage")
    with temporary_directory() as directory:
        file = directory / "openlineage.jsonl"
        transport = {"type": "file", "log_file_path": str(file), "append": True}
        settings = {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)}
        # Only this DAG: others need variables, or have schedules.
        dags = directory / "dags"
        dags.mkdir()
        shutil.copy(Path(__file__).parent / "dags" / "lineage.py", dags)
        with running_services(directory, 1, dags, settings) as services:
            services.warehouse.load_orders(ORDERS)
            airflow = services.airflow
            airflow.wait_until_healthy()
            airflow.wait_for_dag("lineage")
            airflow.api.trigger("lineage", None, airflow.now())
            collecting = Collected(services, file)
            wait_for(
                "the events of all tasks",
                lambda: collecting.has_ended("import_orders", "import_refused", "create_event"),
                airflow.components.values(),
                seconds=240,
            )
            yield collecting


def host(collected: Collected) -> str:
    return f"fullstory://{collected.services.emulator.url.partition('://')[2]}"


def end(collected: Collected, task_id: str, kind: str) -> dict[str, Any]:
    """Return the one event with which a task has ended."""
    [event] = [event for event in collected.tasks()[task_id] if event["eventType"] in ENDS]
    assert event["eventType"] == kind
    return event


def test_an_import_of_a_query(collected: Collected) -> None:
    start, *_ = collected.tasks()["import_orders"]
    last = end(collected, "import_orders", "COMPLETE")
    assert start["eventType"] == "START"
    for event in (start, last):
        [table] = event["inputs"]
        assert table["namespace"].startswith("postgres://")
        assert table["name"].endswith(".public.orders")
        [events] = event["outputs"]
        assert (events["namespace"], events["name"]) == (host(collected), "events")
        lineage = events["facets"]["columnLineage"]["fields"]
        assert {field: origins["inputFields"][0]["field"] for field, origins in lineage.items()} == {
            "user.uid": "customer_id",
            "timestamp": "ordered_at",
            "properties.total": "total",
        }
    assert "outputFacets" not in start["outputs"][0] or not start["outputs"][0]["outputFacets"]
    assert last["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == len(ORDERS)
    facet = last["run"]["facets"]["fullstory_import"]
    assert (facet["records"], facet["imported"], facet["rejected"]) == (len(ORDERS), len(ORDERS), 0)
    assert facet["jobs"]


def test_an_import_that_failed_after_it_had_delivered(collected: Collected) -> None:
    event = end(collected, "import_refused", "FAIL")
    [events] = event["outputs"]
    assert events["outputFacets"]["outputStatistics"]["rowCount"] == 1
    facet = event["run"]["facets"]["fullstory_import"]
    assert (facet["records"], facet["sent"], facet["imported"], facet["invalid"]) == (2, 1, 1, 1)


def test_a_python_task_that_uses_the_hook(collected: Collected) -> None:
    event = end(collected, "create_event", "COMPLETE")
    assert [(output["namespace"], output["name"]) for output in event["outputs"]] == [
        (host(collected), "events")
    ]


def test_no_event_holds_a_key_or_a_record(collected: Collected) -> None:
    text = collected.text()
    assert "fullstory_import" in text
    assert_keeps_secrets(text, collected.services.emulator, "secret-customer", "without a name")
