"""
Run end-to-end DAGs on every supported Airflow and Python, from the built wheel alone.

Each cell of the matrix has an environment of its own: the wheel from ``dist``, one Airflow, and what the
tests need. The tests are those with the mark ``matrix``. They are copied, so that the sources of the package
are out of reach. Prints a table, and fails if one cell fails.

Each Python has to be on PATH, such as ``python3.13``.

Usage: ``python -m tools.matrix [CELL ...]``, or ``make matrix [CELLS="2.11.2-3.11 3.4.0b2-3.13"]``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / ".venv-matrix"
PACKAGE = "airflow-provider-fullstory"
UV = Path(sys.executable).with_name("uv")
COPIED = ("demo", "example_dags", "tests", "pyproject.toml")


@dataclass(frozen=True)
class Release:
    """
    A release of Airflow, and what is installed beside it.

    :param version: The release.
    :param pythons: The versions of Python that it supports, of those that the package does.
    :param constraints: The file that pins everything.
    :param day: Without such a file: nothing is newer than this day.
    :param newer: Packages that the package needs newer than that, each with a day of its own.
    """

    version: str
    pythons: tuple[str, ...]
    constraints: str | None = None
    day: str | None = None
    newer: tuple[str, ...] = ()


RELEASES = (
    Release("2.11.2", ("3.11", "3.12"), constraints="constraints-airflow-2.txt"),
    # It sends its JSON without a content type, which FastAPI 0.132 and newer refuse.
    Release(
        "3.0.6",
        ("3.11", "3.12"),
        day="2025-08-29",
        newer=("apache-airflow-providers-common-compat=2026-03-12",),
    ),
    Release("3.1.8", ("3.11", "3.12", "3.13"), day="2026-03-12"),
    Release("3.2.2", ("3.11", "3.12", "3.13"), day="2026-05-29"),
    Release("3.3.2", ("3.11", "3.12", "3.13"), constraints="constraints.txt"),
    Release("3.4.0b2", ("3.11", "3.12", "3.13"), constraints="constraints-airflow-next.txt"),
)


@dataclass(frozen=True)
class Cell:
    """One Airflow on one Python."""

    release: Release
    python: str

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return f"{self.release.version}-{self.python}"

    def run(self, wheel: Path) -> bool:
        """
        Install and test, and return whether all tests passed.

        :param wheel: The built wheel.
        """
        environment = ENVIRONMENTS / self.name
        with tempfile.TemporaryDirectory(prefix="matrix-") as name:
            directory = Path(name)
            for source in COPIED:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, directory / source)
            return (
                self._install(environment, wheel)
                and _succeeds(environment / "bin/python", "-c", _IS_THE_WHEEL, cwd=directory)
                and _succeeds(
                    environment / "bin/python",
                    "-m",
                    "pytest",
                    "-q",
                    "-m",
                    "matrix",
                    "tests/real_airflow",
                    cwd=directory,
                )
            )

    def _install(self, environment: Path, wheel: Path) -> bool:
        constraints = environment / "pins.txt"
        wanted = (f"apache-airflow=={self.release.version}", f"{PACKAGE} @ {wheel.as_uri()}")
        venv = ("venv", "--quiet", "--seed", "--clear", "--no-python-downloads", "--python", self.python)
        install = ("pip", "install", "--quiet", "--python", environment, "--constraints", constraints)
        return (
            _succeeds(UV, *venv, environment)
            and self._pin(constraints, wanted)
            and _succeeds(UV, *install, *wanted, "--group", "pyproject.toml:test", cwd=ROOT)
        )

    def _pin(self, constraints: Path, wanted: tuple[str, ...]) -> bool:
        """Write what is installed beside Airflow; only what the tests need may be newer than its day."""
        if self.release.constraints:
            shutil.copy(ROOT / self.release.constraints, constraints)
            return True
        requirements = constraints.with_suffix(".in")
        requirements.write_text("\n".join(wanted))
        compile_pins = ("pip", "compile", "--quiet", "--python", constraints.parent, "--no-emit-index-url")
        days = ["--exclude-newer", self.release.day or ""]
        for package in self.release.newer:
            days += ["--exclude-newer-package", package]
        return _succeeds(UV, *compile_pins, *days, "--output-file", constraints, requirements)


_IS_THE_WHEEL = """
import airflow_provider_fullstory as package
assert "site-packages" in package.__file__, package.__file__
"""


def _succeeds(*command: str | Path, cwd: Path | None = None) -> bool:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=cwd, env=environment, check=False).returncode == 0


def main() -> int:
    """Run the matrix, and return the exit code."""
    cells = {cell.name: cell for release in RELEASES for cell in (Cell(release, p) for p in release.pythons)}
    parser = argparse.ArgumentParser(
        prog="python -m tools.matrix", description="Test the wheel on every Airflow."
    )
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"all by default: {', '.join(cells)}")
    names = parser.parse_args().cells or list(cells)
    if unknown := set(names) - set(cells):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(cells)}")
    [wheel] = (ROOT / "dist").glob("*.whl")
    outcomes: dict[str, tuple[bool, float]] = {}
    for name in names:
        print(f"Airflow and Python {name} ...", flush=True)
        start = time.monotonic()
        outcomes[name] = cells[name].run(wheel), time.monotonic() - start
    for name, (is_good, seconds) in outcomes.items():
        print(f"{name:16} {'passed' if is_good else 'FAILED'} {seconds:6.0f} s")
    return not all(is_good for is_good, _ in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
