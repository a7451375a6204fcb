"""Airflow's database, and its API server with the page of this package."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_fullstory.ui.link import HAS_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from tests.ui.database import Database

collect_ignore = (
    [] if HAS_PAGE else ["browser", "test_app.py", "test_chart.py", "test_history.py", "test_page.py"]
)


@pytest.fixture(scope="session")
def tables() -> None:
    """Create Airflow's tables, in the home of all tests of this process."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        session.execute(DagBundleModel.__table__.insert().values(name="bundle"))


@pytest.fixture
def database(tables: None) -> Iterator[Database]:
    """Give Airflow's database without DAGs and runs."""
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    from tests.ui.database import Database

    with create_session() as session:
        # Tasks and XComs end with their runs.
        for model in (DagRun, DagModel):
            session.execute(delete(model))
        session.commit()
        yield Database(session)


@pytest.fixture(scope="session")
def api_server(tables: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Give Airflow's API server, which found the plugin by itself, and the file with its users' passwords."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    passwords = tmp_path_factory.mktemp("users") / "passwords.json"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AUTH_MANAGER": "tests.ui.auth_manager.ForbiddingAuthManager",
            "SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "SIMPLE_AUTH_MANAGER_USERS": "ada:admin,vera:viewer",
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }.items():
            patch.setenv(f"AIRFLOW__CORE__{name}", value)
        purge_cached_app()
        with served(create_app(apps="core")) as url:
            yield url, passwords
        purge_cached_app()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application on a port that the system chooses."""
    from uvicorn import Config, Server

    server = Server(Config(app, log_config=None))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # From here on it takes connections, which wait for the server.
        listener.listen()
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def stranger(api_server: tuple[str, Path]) -> Iterator[httpx.Client]:
    """Give a browser in which nobody is logged in."""
    with httpx.Client(base_url=api_server[0], timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def browser_of(
    api_server: tuple[str, Path], stranger: httpx.Client
) -> Iterator[Callable[[str], httpx.Client]]:
    """Log a user in, as a browser is: by the cookie that Airflow's own page sets."""

    def log_in(name: str) -> httpx.Client:
        url, passwords = api_server
        login = {"username": name, "password": json.loads(passwords.read_text())[name]}
        token = stranger.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        client = httpx.Client(base_url=url, cookies={"_token": token}, timeout=60, trust_env=False)
        return stack.enter_context(client)

    with ExitStack() as stack:
        yield log_in


@pytest.fixture
def browser(browser_of: Callable[[str], httpx.Client]) -> httpx.Client:
    """Give a browser of a user who may only read."""
    return browser_of("vera")
