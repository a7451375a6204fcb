"""The tests mirror the package: the tests of a module are found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "airflow_provider_fullstory"
#: Tests of the operator as its users see it have the names of what it does.
BY_FEATURE = {"operators"}
MOST_LINES = 600
FOLDERS = sorted(
    folder.relative_to(PACKAGE)
    for folder in PACKAGE.rglob("*")
    if folder.is_dir() and list(folder.glob("*.py")) and folder.name not in BY_FEATURE
)


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_test_module_has_the_name_of_a_module(folder: Path) -> None:
    modules = tuple(f"test_{module.stem.strip('_')}" for module in (PACKAGE / folder).glob("*.py"))
    for test in (TESTS / folder).glob("test_*.py"):
        assert test.stem.startswith(modules), test.name


def test_no_test_module_is_too_long() -> None:
    lines = {test.name: len(test.read_text().splitlines()) for test in TESTS.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
