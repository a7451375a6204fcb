"""BigQuery's side of its API (cloud.google.com/bigquery/docs/reference/rest/v2), with a job that is done."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.sources.drivers.servers.http import answering

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = {"projectId": "project", "jobId": "job", "location": "US"}


@contextmanager
def bigquery(*columns: tuple[dict[str, Any], Any]) -> Iterator[str]:
    """
    Give the URL of a server whose every query gives one row.

    :param columns: Of each column its field in the schema without name, and the value as the API writes it.
    """
    result = {
        "jobReference": JOB,
        "jobComplete": True,
        "totalRows": "2",
        "schema": {
            "fields": [
                {"name": f"c{index}", "mode": "NULLABLE", **field} for index, (field, _) in enumerate(columns)
            ]
        },
        "rows": [
            {"f": [{"v": value} for _, value in columns]},
            {"f": [{"v": [] if field.get("mode") == "REPEATED" else None} for field, _ in columns]},
        ],
    }
    job = {
        "id": "project:US.job",
        "jobReference": JOB,
        "status": {"state": "DONE"},
        "configuration": {"jobType": "QUERY", "query": {"query": "SELECT 1"}},
        "statistics": {"query": {"statementType": "SELECT"}},
    }

    def answer(path: str, _: bytes) -> tuple[str, bytes]:
        return "application/json", json.dumps(result if "/queries" in path else job).encode()

    with answering(answer) as port:
        yield f"http://127.0.0.1:{port}"


def client_connection(url: str) -> Any:
    """Connect with Google's own DB-API."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client, dbapi

    options = {"api_endpoint": url}
    client = Client(project="project", credentials=AnonymousCredentials(), client_options=options)
    return dbapi.connect(client, prefer_bqstorage_client=False)


def airflow_hook(url: str) -> Any:
    """Make Airflow's hook, which has no way to be led to another server than Google's."""
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    class Hook(BigQueryHook):
        def get_client_options(self, *_: Any) -> ClientOptions:
            return ClientOptions(api_endpoint=url)

        def get_credentials(self) -> AnonymousCredentials:
            return AnonymousCredentials()

        @property
        def project_id(self) -> str:
            return "project"

    return Hook(gcp_conn_id="bigquery", use_legacy_sql=False, location="US")
