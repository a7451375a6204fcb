"""Annotations whose tries end before the operator is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.services import AIRFLOW_VERSION
from tests.annotations import texts
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from demo.services import Services

#: What a retry posts, if a note can say that the first try posted nothing.
IN_FOLDER, WITHOUT_FOLDER = (f"{task} in try 2 1" for task in ("in_folder", "without_folder"))


@pytest.mark.all_airflows
def test_a_retry_posts_what_a_try_could_not_render(services: Services) -> None:
    run = Run.trigger(services, "annotations")
    run.wait("both second tries to end", lambda: {task.state for task in run.tasks()} == {"success"})
    assert [task.try_number for task in run.tasks()] == [2, 2]
    has_store = AIRFLOW_VERSION >= (3, 3)
    assert sorted(texts(services.emulator)) == [IN_FOLDER, *[WITHOUT_FOLDER] * has_store]

    # The notes of these tries outlive a clear.
    for task_id in ("in_folder", "without_folder"):
        services.airflow.api.clear(run.dag_id, run.run_id, task_id, keep_task_state=AIRFLOW_VERSION >= (3, 4))
    run.wait(
        "both third tries to end",
        lambda: {(task.state, task.try_number) for task in run.tasks()} == {("success", 3)},
    )
    assert sorted(texts(services.emulator)) == [IN_FOLDER, *[WITHOUT_FOLDER] * has_store]
