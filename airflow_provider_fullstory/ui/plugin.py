"""The plugin through which Airflow finds the page of this package."""

# Every process of Airflow loads plugins; only the API server imports what makes the page.
from __future__ import annotations

import logging
from typing import Any, Final

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_fullstory.ui.link import HAS_PAGE, TASK_INSTANCE_ROUTE

PREFIX: Final = "fullstory"
NAME: Final = "FullStory imports"

log = logging.getLogger(__name__)


def _view(destination: str, url_route: str, path: str = "") -> dict[str, Any]:
    # Without a slash in front, the address is below that of Airflow, whatever its path is.
    return {
        "name": NAME,
        "destination": destination,
        "url_route": url_route,
        "href": f"{PREFIX}/{path}",
    }


class FullStoryPlugin(AirflowPlugin):
    """Show the history of imports in Airflow's UI, from Airflow 3.1."""

    name = "fullstory"
    external_views: list[Any] = [  # noqa: RUF012 - The form that Airflow gives it.
        _view("nav", "fullstory-imports") | {"category": "browse"},
        _view("dag", "fullstory-imports-of-dag", "dags/{DAG_ID}"),
        _view("dag_run", "fullstory-imports-of-run", "dags/{DAG_ID}/runs/{RUN_ID}"),
        _view("task", "fullstory-imports-of-task", "dags/{DAG_ID}/tasks/{TASK_ID}"),
        _view(
            "task_instance",
            TASK_INSTANCE_ROUTE,
            "dags/{DAG_ID}/runs/{RUN_ID}/tasks/{TASK_ID}/{MAP_INDEX}",
        ),
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The application that serves the page; only the API server asks for it."""
        if not HAS_PAGE:
            return []
        try:
            from airflow_provider_fullstory.ui.app import make_app
        except ImportError as error:
            # What it needs of the API server may move; an error here would keep that from starting.
            log.warning("Airflow's UI will not show the history of FullStory imports: %s", error)
            return []
        return [{"name": NAME, "app": make_app(), "url_prefix": f"/{PREFIX}"}]
