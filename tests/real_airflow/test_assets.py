"""Assets among the outlets of imports: what their events hold, and what they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.airflow_api import Airflow2Api
from demo.processes import wait_for
from demo.services import AIRFLOW_VERSION
from tests.real_airflow.orders import ORDERS
from tests.real_airflow.runs import Run, made_runs

if TYPE_CHECKING:
    from demo.services import Services

pytestmark = pytest.mark.all_airflows

BY_ASSET = "asset_triggered" if AIRFLOW_VERSION >= (3, 0) else "dataset_triggered"


def test_an_import_starts_a_dag_and_tells_it_how_many_came(services: Services) -> None:
    after = "example_fullstory_after_import"
    services.airflow.wait_for_dag(after)
    services.airflow.api.unpause(after)

    Run.trigger(services, "example_fullstory_asset_events").wait_for_success()
    [run] = made_runs(services, after, BY_ASSET)
    run.wait_for_success()
    assert run.result("count_imported") == len(ORDERS)
    assert len(run.events()) == len(ORDERS)


def learn_what_the_alias_stands_for(services: Services, after: str) -> None:
    """Import once on Airflow 2, whose runs get no events of an asset that the alias has only just named."""
    api = services.airflow.api
    if isinstance(api, Airflow2Api):
        Run.trigger(services, "assets_submit_and_wait").wait_for_success()
        components = services.airflow.components.values()
        wait_for(f"{after} to follow a dataset", lambda: api.follows_datasets(after), components)


def test_a_sensor_tells_an_alias_of_the_import_that_it_waited_for(services: Services) -> None:
    after = "assets_after_sensor"
    services.airflow.wait_for_dag(after)
    learn_what_the_alias_stands_for(services, after)
    services.airflow.api.unpause(after)

    Run.trigger(services, "assets_submit_and_wait").wait_for_success()
    [run] = made_runs(services, after, BY_ASSET)
    run.wait_for_success()
    # Some versions of Airflow name the event under the alias as well as under the asset.
    [*extras] = run.result("extras")
    assert extras
    assert all(extra == extras[0] for extra in extras)
    assert extras[0] == {
        "resource": "users",
        "records": 2,
        "imported": 2,
        "invalid": 0,
        "rejected": 0,
        "skipped": 0,
        "jobs": 1,
    }
