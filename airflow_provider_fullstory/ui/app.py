"""The application that serves the page, behind Airflow's login and its permissions for DAGs."""

# FastAPI reads the annotations of its endpoints while it runs.
# ruff: noqa: TC002
from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from airflow_provider_fullstory.ui.history import LAST_PAGE, Scope, read_imports
from airflow_provider_fullstory.ui.page import render_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

    from airflow_provider_fullstory.ui.history import TaskImport

_HEADERS: Final = {
    # Nothing on the page is loaded from elsewhere, runs, or may be framed by others.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
#: What the page shows of a DAG: the state of tasks, and their reports in XCom.
_SHOWN: Final = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
PageNumber = Annotated[int, Query(ge=1, le=LAST_PAGE)]


@cache
def make_app() -> FastAPI:
    """Return the application, all of whose pages ask for the permissions."""
    permissions = [Depends(requires_access_dag("GET", entity)) for entity in _SHOWN]
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, dependencies=permissions)
    app.get("/", response_class=HTMLResponse)(imports_of_all)
    app.get("/dags/{dag_id}", response_class=HTMLResponse)(imports_of_dag)
    app.get("/dags/{dag_id}/runs/{run_id}", response_class=HTMLResponse)(imports_of_dag)
    app.get("/dags/{dag_id}/tasks/{task_id}", response_class=HTMLResponse)(imports_of_dag)
    app.get("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}", response_class=HTMLResponse)(
        imports_of_dag
    )
    return app


def imports_of_all(
    request: Request, session: SessionDep, user: GetUserDep, page: PageNumber = 1
) -> HTMLResponse:
    """Answer with the imports of all DAGs that the user may read."""
    dag_ids = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    imports, has_older = read_imports(session, Scope(), dag_ids, page)
    # Asked for the DAGs of one page only: some auth managers answer over the network.
    shown = {dag_id for dag_id in {found.dag_id for found in imports} if _may_see(request, user, dag_id)}
    imports = [found for found in imports if found.dag_id in shown]
    return _answer(request, Scope(), imports, page, has_older=has_older)


def _may_see(request: Request, user: BaseUser, dag_id: str) -> bool:
    try:
        for entity in _SHOWN:
            requires_access_dag("GET", entity, dag_id)(request, user)
    except HTTPException:
        return False
    return True


def imports_of_dag(  # noqa: PLR0917 - FastAPI gives them by name.
    request: Request,
    session: SessionDep,
    dag_id: str,
    run_id: str | None = None,
    task_id: str | None = None,
    map_index: str = "",
    page: PageNumber = 1,
) -> HTMLResponse:
    """Answer with the imports of a DAG, of a run or task of it, or of one instance of a task."""
    # Airflow's UI leaves its placeholder where a task is not mapped, and for all instances of one that is.
    index = int(map_index) if re.fullmatch(r"-1|[0-9]{1,9}", map_index) else None
    scope = Scope(dag_id, run_id, task_id, index)
    imports, has_older = read_imports(session, scope, {dag_id}, page)
    return _answer(request, scope, imports, page, has_older=has_older)


def _answer(
    request: Request, scope: Scope, imports: Sequence[TaskImport], page: int, *, has_older: bool
) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    html = render_page(imports, scope, root=root, page=page, has_older=has_older)
    # Half a character, as JSON may hold it, must not cost the page.
    return HTMLResponse(html.encode(errors="replace"), headers=_HEADERS)
