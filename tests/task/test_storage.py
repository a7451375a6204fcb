"""The file of refused records: in a folder each run of each task has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.task.storage import refused_file

if TYPE_CHECKING:
    from pathlib import Path

RUN = RunIdentity("dag", "run", "task")


@pytest.mark.parametrize("uri", ["/", "file:///"])
def test_a_folder_needs_no_name(uri: str) -> None:
    assert str(refused_file(EVENTS, uri, RUN)).startswith(f"{uri}dag/run/task--1-")


def test_a_file_needs_a_name() -> None:
    with pytest.raises(FullStoryInputError, match="names no file"):
        refused_file(EVENTS, "/.", RUN)


def test_names_with_slashes_are_names_of_different_imports(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/file.ndjson"
    one, other = RunIdentity("a/b", "c", "d"), RunIdentity("a", "b/c", "d")
    with (
        refused_file(EVENTS, uri, one).claimed(),
        pytest.raises(FullStoryInputError, match=r"of a%2Fb/c/d/-1 since"),
        refused_file(EVENTS, uri, other).claimed(),
    ):
        pass
