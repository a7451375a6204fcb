"""A URI is a URI: what is relative would end in the worker's current folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.task.storage import object_storage_path, refused_file

if TYPE_CHECKING:
    from pathlib import Path

RUN = RunIdentity("dag", "run", "task")


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("None", "a template without a value"),
        ("/data/None/file.ndjson", "a template without a value"),
        ("s3://None/file.ndjson", "a template without a value"),
        ("s3://aws_default@None/file.ndjson", "a template without a value"),
        ("{{ params.uri }}", "Airflow has not rendered"),
        ("s3://bucket/{{ run_id }}.ndjson", "Airflow has not rendered"),
        ("s3://bucket/{% if x %}", "Airflow has not rendered"),
        ("file.ndjson", "neither an absolute path nor a URI"),
        ("refused/file.ndjson", "neither an absolute path nor a URI"),
        ("./refused/", "neither an absolute path nor a URI"),
        ("~/refused/", "neither an absolute path nor a URI"),
        ("file://refused/file.ndjson", "neither an absolute path nor a URI"),
        ("file:refused", "neither an absolute path nor a URI"),
        ("local://refused", "neither an absolute path nor a URI"),
        ("refused/s3://bucket/file", "neither an absolute path nor a URI"),
        ("://bucket/file", "neither an absolute path nor a URI"),
        ("5", "neither an absolute path nor a URI"),
        ("carrier-pigeon://loft/file", "cannot be opened"),
    ],
)
def test_what_is_no_uri_is_refused(uri: str, problem: str) -> None:
    with pytest.raises(FullStoryInputError, match=f"^state_uri is '.*{problem}"):
        object_storage_path(uri, "state_uri")


@pytest.mark.parametrize("uri", ["/a/b", "file:///a/b", "/a/None-of-it/b", "/a/{x}/b c*?[1]"])
def test_what_is_absolute_leads_there(uri: str) -> None:
    assert str(object_storage_path(uri, "state_uri")) == uri


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
