"""A real Airflow 2 on this machine."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, ClassVar

from demo.airflow_api import Airflow2Api
from demo.local_airflow import LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

EVERYBODY_IS_ADMINISTRATOR = 'AUTH_ROLE_PUBLIC = "Admin"\nWTF_CSRF_ENABLED = False\n'


class LocalAirflow2(LocalAirflow):
    """Run the components of Airflow 2: the DAG processor is a part of its scheduler."""

    commands: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "webserver": ("webserver", "--workers", "1"),
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "triggerer": ("triggerer", "--skip-serve-logs"),
    }
    server = "webserver"
    api_class = Airflow2Api

    def start(self) -> None:
        """Begin to start; see `wait_until_healthy`."""
        home = self._directory / "airflow"
        home.mkdir()
        (home / "webserver_config.py").write_text(EVERYBODY_IS_ADMINISTRATOR)
        self._start_migration()

    def _backfill_command(self, dag_id: str, start: datetime, end: datetime) -> tuple[str, ...]:
        return (
            *("dags", "backfill", dag_id),
            *("--start-date", start.isoformat(), "--end-date", end.isoformat()),
        )

    def _configuration_of_version(self) -> dict[str, str]:
        return {
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__WEBSERVER__BASE_URL": self.api.url,
            "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(self._port),
        }
