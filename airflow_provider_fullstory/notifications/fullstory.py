"""Notifier that puts a mark into FullStory's charts."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import BaseNotifier

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.api.annotations import NewAnnotation
    from airflow_provider_fullstory.task.annotation_note import AnnotationNote

#: Seconds for which FullStory may be out of reach.
_RETRY_FOR: Final = 10.0
#: Seconds for all. Airflow ends a DAG processor, where callbacks of DAGs run, after 50 by default.
_TIMEOUT: Final = 30.0


class FullStoryAnnotationNotifier(BaseNotifier):
    """
    Put a mark into FullStory's charts when a task or a DAG run ends, or misses its deadline.

    .. code-block:: python

        DAG(..., on_failure_callback=FullStoryAnnotationNotifier(text="{{ dag.dag_id }} failed"))

        DeadlineAlert(
            ...,
            callback=AsyncCallback(
                FullStoryAnnotationNotifier,
                kwargs={"text": "{{ dag_run.dag_id }} is late"},
            ),
        )

    In deadline alerts (Airflow 3.1 and newer) templates have only ``dag_run``, whose id is
    ``dag_run.dag_run_id``, and ``deadline``.

    FullStory recognizes no annotation that it has already, and can neither list nor delete one. So each call
    posts at most once: a request that may have arrived is not sent again. Airflow may call a notifier twice,
    such as for a task whose worker it lost. With ``state_uri`` a note then keeps the second call from posting
    the same text to the same connection for the same try of a task, the same end of a DAG run, or the same
    deadline. Airflow's task state store is not there where most callbacks run, so it holds no such notes.

    A notifier waits for FullStory for half a minute at most. Its failure is an error, which Airflow logs; the
    state of the task or the run stays as it is.

    :param text: What the mark says. Beyond 200 characters, the most that FullStory takes, it is cut.
        (templated)
    :param start_time: When it starts: a datetime, or text in ISO 8601. Without a time zone it is in UTC. By
        default it is the time of the request. (templated)
    :param end_time: When it ends, by default at its start. (templated)
    :param source: Where the mark comes from, up to 40 characters. (templated)
    :param state_uri: Folder in any object storage that holds the note; by default ``[fullstory] state_uri``
        of Airflow's configuration. Notes are removed after 90 days. (templated)
    :param fullstory_conn_id: The connection with the API key. (templated)
    :param context: The context, where Airflow awaits the notifier instead of calling it.
    """

    template_fields: Sequence[str] = (
        "text",
        "start_time",
        "end_time",
        "source",
        "state_uri",
        "fullstory_conn_id",
    )

    def __init__(
        self,
        text: str,
        *,
        start_time: datetime.datetime | str | None = None,
        end_time: datetime.datetime | str | None = None,
        source: str | None = "Airflow",
        state_uri: str | None = None,
        fullstory_conn_id: str = "fullstory_default",
        context: Context | None = None,
    ) -> None:
        super().__init__()
        # Airflow below 3.1 has no argument for it.
        self.context = context or {}
        self.text = text
        self.start_time = start_time
        self.end_time = end_time
        self.source = source
        self.state_uri = state_uri
        self.fullstory_conn_id = fullstory_conn_id

    def __call__(self, *arguments: Any) -> None:
        """Post the annotation for one context."""
        # Airflow renders templates in place, and one process may call a notifier for several runs.
        BaseNotifier.__call__(copy.copy(self), *arguments)

    def get_template_env(self, dag: Any = None) -> jinja2.Environment:
        """
        Return the environment in which templates are rendered.

        :param dag: The DAG, None in deadline alerts.
        """
        # dag.test() of Airflow 3 gives the callbacks of a DAG one that has none.
        return super().get_template_env(dag if hasattr(dag, "get_template_env") else None)

    def notify(self, context: Context) -> None:
        """
        Post the annotation, unless an earlier call may have posted it.

        :param context: The context of the callback.
        """
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
        from airflow_provider_fullstory.task.annotation_post import post

        note, annotation = self._noted(context)
        if note.allows(annotation):
            with FullStoryHook(self.fullstory_conn_id, **_limits()) as hook:
                post(note, annotation, hook)

    async def async_notify(self, context: Context) -> None:
        """
        Post the annotation from an event loop, unless an earlier call may have posted it.

        :param context: The context of the callback.
        """
        from asgiref.sync import sync_to_async

        from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook

        # The imports and the storage of the note would block the event loop.
        note, annotation = await sync_to_async(self._noted)(context)
        if note.allows(annotation):
            from airflow_provider_fullstory.task.annotation_post import post_async

            async with FullStoryAsyncHook(self.fullstory_conn_id, **_limits()) as hook:
                await post_async(note, annotation, hook)

    def _noted(self, context: Context) -> tuple[AnnotationNote, NewAnnotation]:
        """Return the annotation, and what is known of it."""
        from airflow_provider_fullstory.api.annotations import new_annotation, shortened
        from airflow_provider_fullstory.task.annotation_note import AnnotationNote
        from airflow_provider_fullstory.task.annotation_place import place_of_callback
        from airflow_provider_fullstory.task.arguments import AnnotationArguments, checked

        arguments = checked(AnnotationArguments, vars(self) | {"durable": True})
        annotation = new_annotation(
            shortened(arguments.text), arguments.start_time, arguments.end_time, arguments.source
        )
        note = AnnotationNote(place_of_callback(context, arguments), is_first=True)
        note.note_try()
        return note, annotation


def _limits() -> dict[str, float]:
    return {"retry_for": _RETRY_FOR, "deadline": time.time() + _TIMEOUT}
