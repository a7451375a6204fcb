"""The map in CONTRIBUTING.md is that of the modules."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tools.module_map import PACKAGE, PAGE, ROOT, page_with_map

if TYPE_CHECKING:
    from pathlib import Path


def test_the_map_in_contributing_is_current() -> None:
    assert (ROOT / PAGE).read_text() == page_with_map(ROOT), "Run make map."


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of what the map is made of."""
    shutil.copy(ROOT / PAGE, tmp_path)
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_new_module_is_missing_in_the_map(copy: Path) -> None:
    (copy / PACKAGE / "api" / "segments.py").write_text('"""Segments of\nusers.\n\nMore."""\n')
    page = page_with_map(copy)
    assert page != (copy / PAGE).read_text()
    [line] = [line for line in page.splitlines() if "segments.py" in line]
    assert line.split(maxsplit=1) == ["segments.py", "Segments of users"]


def test_a_module_needs_a_docstring(copy: Path) -> None:
    (copy / PACKAGE / "api" / "segments.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"segments\.py has no docstring"):
        page_with_map(copy)
