"""What the events of outlets hold after an import, in Airflow's own accessors of these events."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset, AssetAlias

from airflow_provider_fullstory.assets.fullstory import create_asset
from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from demo.services import AIRFLOW_VERSION
from tests.conftest import run
from tests.tries import REFUSED_BY_FULLSTORY, REFUSED_HERE, orders

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.logs import Log

EVENTS = create_asset(organization="1ABC", resource="events")
COUNTS = {
    "resource": "events",
    "records": 5,
    "imported": 3,
    "invalid": 1,
    "rejected": 1,
    "skipped": 0,
    "jobs": 1,
}
REFUSED = [REFUSED_HERE, REFUSED_BY_FULLSTORY]


@pytest.fixture
def events(context: Any) -> Any:
    """Give the accessors of a task's context, as Airflow makes them."""
    module = "airflow.sdk.execution_time.context" if AIRFLOW_VERSION >= (3, 0) else "airflow.utils.context"
    context["outlet_events"] = importlib.import_module(module).OutletEventAccessors()
    return context["outlet_events"]


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "outlets": [EVENTS], **arguments}
    return FullStoryImportEventsOperator(**given)


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the task", "in the triggerer"])
def test_the_counts_of_an_import(
    emulator: EmulatorClient, context: Any, events: Any, deferrable: bool
) -> None:
    # A job that is finished at the first poll needs no deferral.
    with patch.object(Importer, "poll", return_value=None):
        run(importing(events=orders(3) + REFUSED, max_rejected=2, deferrable=deferrable), context)
    assert events[EVENTS].extra == COUNTS


def test_the_counts_of_an_import_that_a_sensor_waits_for(
    emulator: EmulatorClient, context: Any, events: Any
) -> None:
    report = run(importing(events=orders(3) + REFUSED, max_rejected=2, wait_for_completion=False), context)
    assert events[EVENTS].extra == COUNTS | {"imported": None, "rejected": None}
    waiting = FullStoryImportJobSensor(
        task_id="wait", job_ids=report, poke_interval=0.01, max_rejected=2, outlets=[EVENTS]
    )
    run(waiting, context)
    assert events[EVENTS].extra == COUNTS


def test_the_counts_of_users(emulator: EmulatorClient, context: Any, events: Any) -> None:
    users = create_asset(organization="1ABC", resource="users")
    run(
        FullStoryImportUsersOperator(
            task_id="import", users=[{"uid": "u1"}, {"uid": "u2"}], poll_interval=0.01, outlets=[users]
        ),
        context,
    )
    counts = {"resource": "users", "records": 2, "imported": 2, "invalid": 0, "rejected": 0}
    assert events[users].extra == COUNTS | counts


def test_what_others_put_into_an_event_stays(emulator: EmulatorClient, context: Any, events: Any) -> None:
    events[EVENTS].extra["owner"] = "growth"
    run(importing(events=orders(1)), context)
    assert events[EVENTS].extra["owner"] == "growth"
    assert events[EVENTS].extra["imported"] == 1


def test_assets_of_others_get_the_counts_too(emulator: EmulatorClient, context: Any, events: Any) -> None:
    other = Asset("s3://bucket/done")
    run(importing(events=orders(2), outlets=[other]), context)
    assert events[other].extra["imported"] == 2


def test_an_alias_gets_an_event_of_the_asset_behind_the_connection(
    emulator: EmulatorClient, context: Any, events: Any
) -> None:
    alias = AssetAlias("purchases")
    run(importing(events=orders(2), outlets=[alias]), context)
    [(uri, extra)] = alias_events(events[alias])
    assert uri == f"fullstory://{emulator.url.partition('://')[2]}/events"
    assert extra["imported"] == 2


def test_an_alias_gets_an_event_of_the_asset_beside_it(
    emulator: EmulatorClient, context: Any, events: Any
) -> None:
    alias = AssetAlias("purchases")
    run(importing(events=orders(2), outlets=[alias, EVENTS]), context)
    assert [uri for uri, _ in alias_events(events[alias])] == [EVENTS.uri]


def alias_events(accessor: Any) -> list[tuple[str, Any]]:
    if AIRFLOW_VERSION < (3, 0):
        return [(event["dest_dataset_uri"], event["extra"]) for event in accessor.dataset_alias_events]
    return [(event.dest_asset_key.uri, event.extra) for event in accessor.asset_alias_events]


def test_an_import_that_fails_tells_nothing(emulator: EmulatorClient, context: Any, events: Any) -> None:
    with pytest.raises(AirflowFailException):
        run(importing(events=[*orders(1), REFUSED_HERE]), context)
    assert len(events) == 0


def test_an_outlet_that_cannot_be_looked_up_fails_no_import(
    emulator: EmulatorClient, context: Any, log: Log
) -> None:
    # Without the accessors of a running task.
    report = run(importing(events=orders(1)), context)
    assert report["imported"] == 1
    assert log.having("The import is complete, but the event of outlet fullstory://1ABC/events will lack its")
