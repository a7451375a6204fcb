"""How Airflow finds the page, and what that costs the processes that do not show it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from airflow_provider_fullstory.ui.link import HAS_PAGE
from airflow_provider_fullstory.ui.plugin import FullStoryPlugin

LOAD = """
import json, sys
from airflow.providers.common.compat.sdk import AirflowPlugin, BaseOperatorLink, conf
before = set(sys.modules)
from airflow_provider_fullstory.ui.plugin import FullStoryPlugin
plugin = FullStoryPlugin()
plugin.external_views, plugin.listeners, plugin.macros
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_entry_point_leads_to_the_plugin() -> None:
    [entry] = [
        entry
        for entry in entry_points(group="airflow.plugins")
        if entry.value.startswith("airflow_provider_fullstory.")
    ]
    assert entry.load() is FullStoryPlugin


def test_loading_it_imports_nothing_of_the_page() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(loaded) <= {
        "airflow_provider_fullstory",
        "airflow_provider_fullstory.ui",
        "airflow_provider_fullstory.ui.link",
        "airflow_provider_fullstory.ui.plugin",
    }


def test_there_is_an_application_only_where_airflow_shows_pages_of_plugins() -> None:
    prefixes = [app["url_prefix"] for app in FullStoryPlugin().fastapi_apps]
    assert prefixes == (["/fullstory"] if HAS_PAGE else [])


@pytest.mark.skipif(not HAS_PAGE, reason="This Airflow has no such pages.")
def test_the_api_server_starts_without_the_page_if_that_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "airflow_provider_fullstory.ui.app", None)
    assert FullStoryPlugin().fastapi_apps == []
    assert "will not show the history of FullStory imports" in caplog.text


def test_no_two_views_have_the_same_route() -> None:
    routes = [view["url_route"] for view in FullStoryPlugin.external_views]
    assert len(set(routes)) == len(routes)


@pytest.mark.skipif(not HAS_PAGE, reason="This Airflow has no such views.")
def test_airflow_takes_all_views() -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    destinations = [ExternalViewResponse(**view).destination for view in FullStoryPlugin.external_views]
    assert destinations == ["nav", "dag", "dag_run", "task", "task_instance"]
