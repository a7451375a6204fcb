"""Each sync has a folder, whatever its name is."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.folders import folder_name, sync_folder, syncs_folder

NAMES = [
    "dag.task",
    "dag_task",
    "dag/task",
    "Dag.Task",
    "../..",
    "",
    "żółć",
    "a" * 300,
    "a" * 301,
    "a b*?[c]",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_folder_is_safe(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,80}\.[0-9a-f]{16}", folder_name(name))


def test_two_syncs_have_two_folders_on_disks_without_upper_case_too() -> None:
    for one, other in combinations(NAMES, 2):
        assert folder_name(one).lower() != folder_name(other).lower()


def test_the_folder_of_a_sync_stays_where_it_is(memory: str) -> None:
    folder = sync_folder("file:///state", "dag.task")
    assert str(folder) == "file:///state/syncs/dag_task.788b40ceea11f5a2"
    assert str(syncs_folder(f"{memory}/x")).endswith("bucket/x/syncs")


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(FullStoryInputError, match="state_uri"):
        sync_folder("state", "dag.task")
