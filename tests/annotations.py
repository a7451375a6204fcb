"""The tries of a task that posts an annotation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryPermissionError,
    FullStoryRateLimitError,
)
from airflow_provider_fullstory.operators.fullstory import FullStoryAnnotationOperator
from tests.tries import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient

POSTS = {"method": "POST", "path": "/v2/annotations"}
#: Answers that leave it open whether FullStory has the annotation.
LOST = [
    {"reset": "before"},
    {"reset": "after"},
    {"status": 500},
    {"status": 503, "work_done": True},
    {"status": 408},
    {"status": 409},
    {"status": 202},
    {"status": 302},
    {"status": 200, "body": {"hello": "world"}},
]
#: Answers after which FullStory surely does not have it.
REFUSED = {
    400: FullStoryBadRequestError,
    401: FullStoryAuthenticationError,
    403: FullStoryPermissionError,
    429: FullStoryRateLimitError,
}


class AnnotationTask(Task):
    """One task of one run, which posts an annotation."""

    task_id = "annotate"

    def operator(self, **arguments: Any) -> Any:
        """Return the operator of the next try."""
        given = {"task_id": self.task_id, "text": "Deployed", "state_uri": self.state_uri}
        own = self.arguments.keys() - {"poll_interval", "batch_size"}
        given |= {name: self.arguments[name] for name in own}
        return FullStoryAnnotationOperator(**given | arguments)


def post_in_process(connection: str, state_uri: str) -> None:
    """Run the first try of a task in a process of its own, which tests kill."""
    os.environ["AIRFLOW_CONN_FULLSTORY_DEFAULT"] = connection
    task = AnnotationTask(None, state_uri)
    task.operator().execute(task.next_context())


def noting(stage: str) -> Callable[[str, dict[str, Any]], bool]:
    """Match the write that notes how far an annotation is."""
    return lambda _, value: value.get("stage") == stage


def texts(emulator: EmulatorClient) -> list[str]:
    """Return the texts of the annotations that FullStory has."""
    return [annotation["text"] for annotation in emulator.annotations()]
