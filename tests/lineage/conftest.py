"""What OpenLineage is told, by the classes of its provider that ask operators."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def extract() -> Callable[[Any, str], Any]:
    """Ask an operator, as the provider does when a task runs, has succeeded, or has failed."""
    pytest.importorskip("airflow.providers.openlineage")
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from airflow.utils.state import TaskInstanceState

    def ask(operator: Any, state: str) -> Any:
        return ExtractorManager().extract_metadata(
            dagrun=SimpleNamespace(run_id="run-1"),
            task=operator,
            task_instance_state=TaskInstanceState[state],
            task_instance=SimpleNamespace(),
        )

    return ask
