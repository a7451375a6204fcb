"""A URI is a URI: what is relative would end in the worker's current folder."""

from __future__ import annotations

import pytest

from airflow_provider_fullstory.batch_import.storage.locations import is_on_disk, object_storage_path
from airflow_provider_fullstory.exceptions import FullStoryInputError


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


@pytest.mark.parametrize(
    ("uri", "is_local"),
    [("/a/b", True), ("file:///a", True), ("local:///a", True), ("s3://a/b", False), ("gs://c@a/b", False)],
)
def test_what_is_on_a_disk(uri: str, *, is_local: bool) -> None:
    assert is_on_disk(uri) is is_local
