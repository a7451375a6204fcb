"""What a measurement was made on, and where its results go."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_RESULTS: Final = Path(__file__).with_name("results")
_PACKAGES: Final = ("apache-airflow", "msgspec", "pandas", "psycopg2-binary", "requests")


def facts() -> dict[str, Any]:
    """Return what the machine and the versions are."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
    } | {name: version(name) for name in _PACKAGES}


def write_results(name: str, results: Any, versions: Mapping[str, str] = MappingProxyType({})) -> Path:
    """
    Write results beside the facts about the machine, and return where.

    :param name: Name of the file, without its ending.
    :param results: What JSON can hold.
    :param versions: Versions of packages that other environments have, by their names.
    """
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": {**facts(), **versions}, "results": results}, indent=1) + "\n")
    return path


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
