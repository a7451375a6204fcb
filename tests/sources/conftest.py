"""Drivers of databases, and servers for them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mariadb import PROGRAMS, MariaDb
from tests.sources.drivers.drivers import (
    MARIADB,
    POSTGRESQL,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    if None in PROGRAMS:
        pytest.skip("MariaDB (Debian's package mariadb-server) is not installed")
    pytest.importorskip("pymysql", reason="the dependency group 'mariadb' is not installed")
    with tempfile.TemporaryDirectory(prefix="mariadb-") as directory:
        # Nobody has to wait a minute to see that a wait is too long.
        server = MariaDb(Path(directory), "net-write-timeout=1")
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Give the name of a driver; Airflow's connections lead to a database that it is for."""
    driver: str = request.param
    if driver in POSTGRESQL:
        from airflow.providers.postgres.hooks import postgres

        monkeypatch.setattr(postgres, "USE_PSYCOPG3", postgres.USE_PSYCOPG3)  # hook_of() may change it
        server = request.getfixturevalue("postgresql")
        monkeypatch.setenv("AIRFLOW_CONN_POSTGRESQL", server.connection_json())
    elif driver in MARIADB:
        server = request.getfixturevalue("mariadb")
        monkeypatch.setenv("AIRFLOW_CONN_MARIADB", server.connection_json())
        extra = {"client": "mysql-connector-python"}
        monkeypatch.setenv("AIRFLOW_CONN_MARIADB_CONNECTOR", server.connection_json(**extra))
    else:
        connection = {"conn_type": "sqlite", "host": str(tmp_path / "empty.db")}
        monkeypatch.setenv("AIRFLOW_CONN_SQLITE", json.dumps(connection))
    return driver
