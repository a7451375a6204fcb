"""The link from a task to the history of its imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from typing import Any

    from airflow.providers.common.compat.sdk import BaseOperator

#: Whether this Airflow can show the page of this package: 3.1 was the first that takes pages of plugins.
HAS_PAGE: Final = tuple(int(number) for number in airflow_version.split(".")[:2]) >= (3, 1)
#: Where Airflow's UI shows the page, below the address of a task instance.
TASK_INSTANCE_ROUTE: Final = "fullstory-imports-of-task-instance"


class FullStoryImportHistoryLink(BaseOperatorLink):
    """Lead to the imports of a task instance, on the page of this package in Airflow's UI."""

    name = "FullStory imports"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002
        """
        Return the address of the page.

        :param operator: The task.
        :param ti_key: The task instance.
        """
        # Without an address of its own, Airflow's UI resolves the link from where it is itself.
        url = conf.get("api", "base_url", fallback="/").rstrip("/")
        dag_id, run_id, task_id = (quote(name) for name in (ti_key.dag_id, ti_key.run_id, ti_key.task_id))
        mapped = (
            f"/mapped/{ti_key.map_index}" if ti_key.map_index is not None and ti_key.map_index >= 0 else ""
        )
        return f"{url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/{TASK_INSTANCE_ROUTE}"


#: The links of the operators that import, and of the sensor: none where there is no page.
IMPORT_LINKS: Final = (FullStoryImportHistoryLink(),) if HAS_PAGE else ()
