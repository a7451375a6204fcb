"""
One measured piece of work, in its own process.

``python -m benchmarks.process MODULE FUNCTION PLACE [ARGUMENTS]`` calls a function, and prints as JSON how
long it took, how much memory the process had at most, and what the function returned.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmarks.place import Place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType


@dataclasses.dataclass(frozen=True)
class Measurement:
    """
    What a piece of work took.

    :param seconds: Its time, without the imports.
    :param peak_bytes: The most memory that the process had, as the operating system counts it.
    :param before_bytes: The most it had before the work began: the interpreter and what is imported.
    :param result: What it returned.
    """

    seconds: float
    peak_bytes: int
    before_bytes: int
    result: Any


def measure(
    module: str,
    function: str,
    place: Place,
    *arguments: str,
    python: Path = Path(sys.executable),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Measurement:
    """
    Do a piece of work in a new process.

    :param module: Name of the module.
    :param function: Name of a function in it.
    :param place: Its first argument.
    :param arguments: Its other arguments.
    :param python: The interpreter, where the work needs another environment.
    :param environment: Variables that the process has besides.
    """
    command = [python, "-m", "benchmarks.process", module, function, place.to_json(), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE, text=True
    )
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def peak_bytes() -> int:
    """Return the most memory that this process had: the kernel's high-water mark of its resident set."""
    # Unlike ru_maxrss, this does not begin with the memory of the process that started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("The kernel does not report VmHWM.")


def _work(module: ModuleType, function: str, place: Place, arguments: list[str]) -> Measurement:
    before = peak_bytes()
    began = time.perf_counter()
    result = getattr(module, function)(place, *arguments)
    return Measurement(time.perf_counter() - began, peak_bytes(), before, result)


if __name__ == "__main__":
    module_name, function_name, place_text, *rest = sys.argv[1:]
    measurement = _work(
        importlib.import_module(module_name), function_name, Place.from_json(place_text), rest
    )
    print(json.dumps(dataclasses.asdict(measurement)))
