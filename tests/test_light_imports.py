"""Sources and the API know nothing of records, and nothing of imports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

IMPORT = """
import importlib, json, pkgutil, sys

package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"{sys.argv[1]}."):
    importlib.import_module(module.name)
print(json.dumps(sorted(name for name in sys.modules if name.startswith("airflow_provider_fullstory."))))
"""
PACKAGE = "airflow_provider_fullstory"


@pytest.mark.parametrize(
    ("imported", "allowed"),
    [
        ("sources.drivers.known", {"api", "sources"}),
        ("sources", {"api", "exceptions", "sources", "text"}),
        ("api", {"api", "exceptions", "text"}),
    ],
)
def test_an_import_loads_no_layer_above(imported: str, allowed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, f"{PACKAGE}.{imported}"], capture_output=True, text=True, check=True
    )
    modules = json.loads(done.stdout)

    assert f"{PACKAGE}.{imported}" in modules
    assert {name.split(".")[1] for name in modules} <= allowed
