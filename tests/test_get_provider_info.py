"""What Airflow reads about the package."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseNotifier, BaseOperatorLink

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.get_provider_info import connection_type, get_provider_info
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook


def test_the_entry_point_leads_to_the_provider_info() -> None:
    [entry] = [
        entry
        for entry in entry_points(group="apache_airflow_provider")
        if entry.value.startswith("airflow_provider_fullstory.")
    ]
    assert entry.load()() == get_provider_info()


def test_the_info_passes_airflows_schema() -> None:
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_form_passes_airflows_schema_of_connection_types() -> None:
    schema_file = files("airflow") / "provider.yaml.schema.json"
    if not schema_file.is_file():
        pytest.skip("This Airflow does not read forms from the provider info.")
    schema = json.loads(schema_file.read_text())
    jsonschema.validate(
        [connection_type()],
        schema["properties"]["connection-types"] | {"definitions": schema.get("definitions", {})},
    )


def test_the_version_is_that_of_the_package() -> None:
    assert get_provider_info()["versions"] == [__version__]


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_all_modules_it_names_exist(kind: str) -> None:
    for entry in get_provider_info()[kind]:
        for module in entry["python-modules"]:
            importlib.import_module(module)


def test_all_notifiers_it_names_exist() -> None:
    for path in get_provider_info()["notifications"]:
        module, _, name = path.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), name), BaseNotifier)


@pytest.mark.parametrize("key", ["asset-uris", "dataset-uris"])
def test_all_that_handles_assets_exists(key: str) -> None:
    [entry] = get_provider_info()[key]
    assert entry["schemes"] == ["fullstory"]
    for path in (entry["handler"], entry["factory"], entry["to_openlineage_converter"]):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_all_links_it_names_exist() -> None:
    for path in get_provider_info()["extra-links"]:
        module, _, name = path.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), name), BaseOperatorLink)


def test_airflow_knows_the_connection_type() -> None:
    from airflow.providers_manager import ProvidersManager

    hook = ProvidersManager().hooks["fullstory"]
    assert hook is not None
    assert hook.hook_class_name == "airflow_provider_fullstory.hooks.fullstory.FullStoryHook"
    assert hook.hook_name == "FullStory"


def test_the_forms_of_old_and_new_airflow_are_equal() -> None:
    declared = connection_type()
    behaviour = FullStoryHook.get_ui_field_behaviour()
    assert {name.replace("_", "-"): value for name, value in behaviour.items()} == declared[
        "ui-field-behaviour"
    ]
    pytest.importorskip("wtforms")
    pytest.importorskip("flask_appbuilder")
    import wtforms

    form = type("Form", (wtforms.Form,), FullStoryHook.get_connection_form_widgets())()
    assert {name: (str(field.label.text), field.description) for name, field in form._fields.items()} == {
        name: (field["label"], field["description"]) for name, field in declared["conn-fields"].items()
    }


def test_loading_the_info_imports_nothing_of_airflow() -> None:
    """Airflow loads it while it configures itself."""
    code = (
        "import sys; from airflow_provider_fullstory.get_provider_info import get_provider_info; "
        "get_provider_info(); print([name for name in sys.modules if name.split('.')[0] == 'airflow'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parsing_a_dag_file_loads_nothing_that_only_a_running_task_needs() -> None:
    code = """
import sys
from airflow.providers.common.compat.sdk import (
    DAG, BaseNotifier, BaseOperator, BaseOperatorLink, BaseSensorOperator, XComArg
)
from airflow.triggers.base import BaseTrigger
before = set(sys.modules)
import airflow_provider_fullstory.notifications.fullstory
import airflow_provider_fullstory.operators.fullstory
import airflow_provider_fullstory.sensors.fullstory
import airflow_provider_fullstory.triggers.fullstory
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.strip().splitlines()[-1].strip("[]").replace("'", "").split(", "))
    allowed = {
        "airflow_provider_fullstory",
        "airflow_provider_fullstory.exceptions",
        "airflow_provider_fullstory.task.intervals",
        "airflow_provider_fullstory.notifications",
        "airflow_provider_fullstory.notifications.fullstory",
        "airflow_provider_fullstory.operators",
        "airflow_provider_fullstory.operators.annotations",
        "airflow_provider_fullstory.operators.fullstory",
        "airflow_provider_fullstory.operators.imports",
        "airflow_provider_fullstory.task.hidden_records",
        "airflow_provider_fullstory.task.completion",
        "airflow_provider_fullstory.sources",
        "airflow_provider_fullstory.sources.locations",
        "airflow_provider_fullstory.task",
        "airflow_provider_fullstory.task.deferral",
        "airflow_provider_fullstory.task.errors",
        "airflow_provider_fullstory.task.identity",
        "airflow_provider_fullstory.sensors",
        "airflow_provider_fullstory.sensors.fullstory",
        "airflow_provider_fullstory.triggers",
        "airflow_provider_fullstory.triggers.fullstory",
        "airflow_provider_fullstory.ui",
        "airflow_provider_fullstory.ui.link",
    }
    assert loaded <= allowed, loaded - allowed
