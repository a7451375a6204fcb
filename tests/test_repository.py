"""The files around the package: workflows, and what registries read."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_fullstory.get_provider_info import get_provider_info

ROOT = Path(__file__).parent.parent
if not (ROOT / ".github").is_dir():
    pytest.skip("A source distribution has only the package and its tests.", allow_module_level=True)

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def jobs_of(workflow: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    return jobs


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_their_version_beside(workflow: Path) -> None:
    uses = re.findall(r"uses: (.*)", workflow.read_text())
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_each_action_is_pinned_to_one_commit() -> None:
    pins = {pin for workflow in WORKFLOWS for pin in re.findall(r"uses: (.*)", workflow.read_text())}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins}), pins


def test_only_the_job_that_publishes_may_do_more_than_read() -> None:
    granted = {
        (workflow.stem, name): job["permissions"]
        for workflow in WORKFLOWS
        for name, job in jobs_of(workflow).items()
        if "permissions" in job
    }
    assert granted == {("release", "publish"): {"id-token": "write"}}
    for workflow in WORKFLOWS:
        assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}


def test_ci_covers_the_releases_and_pythons_that_are_supported() -> None:
    jobs = jobs_of(ROOT / ".github" / "workflows" / "ci.yml")
    [pins] = re.findall(r"^PINS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert jobs["airflow-as-released"]["strategy"]["matrix"]["release"] == pins.split()
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert jobs["fast"]["strategy"]["matrix"]["python"] == classifiers


def test_make_has_all_targets_of_the_workflows() -> None:
    targets = set(re.findall(r"^([\w-]+)[\w% -]*:", (ROOT / "Makefile").read_text(), re.MULTILINE))
    ran = [
        command.split()
        for workflow in WORKFLOWS
        for job in jobs_of(workflow).values()
        for step in job["steps"]
        if (command := step.get("run", "")).startswith("make ")
    ]
    nightly = jobs_of(ROOT / ".github" / "workflows" / "nightly.yml")["real-airflow"]
    named = {word for command in ran for word in command[1:] if "$" not in word}
    named |= {target.split()[0] for target in nightly["strategy"]["matrix"]["target"]}
    assert named > {"lint", "test-fast", "test", "chaos"}
    assert named <= targets, named - targets


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_the_registry_lists_all_public_classes(kind: str) -> None:
    listed = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())[kind]
    modules = [name for entry in get_provider_info()[kind] for name in entry["python-modules"]]
    # Where users import them, which need not be where they are defined.
    classes = {
        member: f"{module.__name__}.{name}"
        for module in map(importlib.import_module, modules)
        for name, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__.startswith(f"{module.__package__}.") and name.startswith("FullStory")
    }
    bases = {base for member in classes for base in member.__mro__[1:]}
    assert {entry["module"] for entry in listed} == {
        path for member, path in classes.items() if member not in bases
    }


def test_the_registry_lists_all_notifiers() -> None:
    listed = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())["notifications"]
    assert [entry["module"] for entry in listed] == get_provider_info()["notifications"]
