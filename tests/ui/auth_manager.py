"""An auth manager in which nobody may read one DAG, and nobody the XComs of another."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

FORBIDDEN_DAG = "forbidden"
DAG_WITHOUT_XCOMS = "without_xcoms"


class ForbiddingAuthManager(SimpleAuthManager):
    """Decide by DAG, and otherwise as Airflow's own auth manager does."""

    def is_authorized_dag(
        self, *, access_entity: DagAccessEntity | None = None, details: Any = None, **arguments: Any
    ) -> bool:
        dag_id = details and details.id
        if dag_id == FORBIDDEN_DAG or (dag_id == DAG_WITHOUT_XCOMS and access_entity == DagAccessEntity.XCOM):
            return False
        return super().is_authorized_dag(access_entity=access_entity, details=details, **arguments)
