"""The names of files, as openlineage.io/docs/spec/naming has them."""

from __future__ import annotations

import pytest

from airflow_provider_fullstory.lineage.files import file_names


@pytest.mark.parametrize(
    ("location", "names"),
    [
        ("s3://bucket/exports/a.jsonl.gz", ("s3://bucket", "exports/a.jsonl.gz")),
        ("s3://aws_default@bucket/exports/", ("s3://bucket", "exports")),
        ("s3a://key:secret@bucket/a.jsonl", ("s3://bucket", "a.jsonl")),
        ("gcs://bucket/a.jsonl", ("gs://bucket", "a.jsonl")),
        ("abfs://container@account.dfs.core.windows.net/a", ("abfs://account.dfs.core.windows.net", "a")),
        ("s3://bucket/year=2026/*/part-?.jsonl", ("s3://bucket", "year=2026")),
        ("s3://bucket/*.jsonl", ("s3://bucket", "/")),
        ("file:///data/a.jsonl", ("file", "/data/a.jsonl")),
        ("/data/a.jsonl", ("file", "/data/a.jsonl")),
        ("/data/[ab].jsonl", ("file", "/data")),
    ],
)
def test_a_location_has_a_namespace_and_a_name(location: str, names: tuple[str, str]) -> None:
    assert file_names(location) == names
