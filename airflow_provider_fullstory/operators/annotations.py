"""Operator that puts a mark into FullStory's charts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryInputError
from airflow_provider_fullstory.task.deferral import deadline_of
from airflow_provider_fullstory.task.errors import airflow_error, without_retry

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.api.annotations import NewAnnotation
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
    from airflow_provider_fullstory.task.annotation_note import AnnotationNote

#: Seconds for which a request that surely did not arrive, or was refused for the rate limit, is sent again.
RETRY_FOR: Final = 300.0
#: Seconds after which no request may last any more.
TIMEOUT: Final = 600.0
#: The share of a task's time that requests may take: the rest is for noting what became of them.
_SHARE: Final = 0.9


class FullStoryAnnotationOperator(BaseOperator):
    """
    Put a mark into FullStory's charts, such as for a deploy, a price change, or a backfill.

    FullStory recognizes no annotation that it has already, and can neither list nor delete one. So it is
    posted at most once for a task of a DAG run, over retries and clears: a note is written before it is
    posted, and completed afterwards. A try that finds an annotation posted succeeds and posts nothing, even
    if its text has changed. If the answer was lost, nobody can know whether FullStory has the annotation;
    then the task succeeds with a warning, and no later try posts it.

    The note is under ``state_uri``, where it outlives clears, and a run that is deleted and made again under
    its id. Else it is in Airflow's task state store (3.3 and newer). With neither, only the first try posts.

    After a clear, a try that finds no note posts nothing where an earlier one may have posted: in the task
    state store, which Airflow 3.4 may empty at a clear; and under ``state_uri`` if the run was due before the
    task's first day there, or so long ago that its note was removed. The log says so.

    If FullStory refused the request, or it surely did not arrive, the task fails. A retry then posts the
    annotation; where no note can tell that to a retry, the task fails without one.

    The task returns the annotation as FullStory has it as XCom: ``{"text": ..., "start_time": ...,
    "end_time": ..., "source": ..., "is_new": ...}``, where ``is_new`` says whether this try posted it; or
    None if nobody can know whether FullStory has it.

    .. seealso:: developer.fullstory.com/server/annotations/create-annotation

    :param text: What the mark says, up to 200 characters. (templated)
    :param start_time: When it starts: a datetime, or text in ISO 8601. Without a time zone it is in UTC. By
        default it is the time of the request. (templated)
    :param end_time: When it ends, by default at its start. (templated)
    :param source: Where the mark comes from, up to 40 characters. (templated)
    :param durable: Whether a note is written. With False each try posts the annotation.
    :param state_uri: Folder in any object storage that holds the note, by DAG, task and run; by default
        ``[fullstory] state_uri`` of Airflow's configuration. Notes are removed 90 days after their last
        try. (templated)
    :param fullstory_conn_id: The connection with the API key. (templated)
    """

    template_fields: Sequence[str] = (
        "text",
        "start_time",
        "end_time",
        "source",
        "state_uri",
        "fullstory_conn_id",
    )
    ui_color = "#f3e8ff"
    _hook: FullStoryHook | None = None

    def __init__(
        self,
        *,
        text: str,
        start_time: datetime.datetime | str | None = None,
        end_time: datetime.datetime | str | None = None,
        source: str | None = "Airflow",
        durable: bool = True,
        state_uri: str | None = None,
        fullstory_conn_id: str = "fullstory_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.start_time = start_time
        self.end_time = end_time
        self.source = source
        self.durable = durable
        self.state_uri = state_uri
        self.fullstory_conn_id = fullstory_conn_id

    def execute(self, context: Context) -> dict[str, Any] | None:
        """
        Post the annotation, unless an earlier try may have posted it.

        :param context: The task's context.
        """
        from airflow_provider_fullstory.api.annotations import new_annotation
        from airflow_provider_fullstory.task.annotation_note import AnnotationNote
        from airflow_provider_fullstory.task.annotation_place import place_of_task
        from airflow_provider_fullstory.task.arguments import (
            AnnotationArguments,
            DurableArguments,
            checked,
        )

        deadline = time.time() + _SHARE * deadline_of(self, 0.0, TIMEOUT)
        with without_retry():
            place = place_of_task(context, self.task_id, checked(DurableArguments, vars(self)))
            self.log.info("State: %s.", place.description)
            note = AnnotationNote(place, is_first=context["ti"].try_number <= 1)
            note.note_try()
            try:
                arguments = checked(AnnotationArguments, vars(self))
                annotation = new_annotation(
                    arguments.text, arguments.start_time, arguments.end_time, arguments.source
                )
            except FullStoryInputError as error:
                note.fail(error)
                raise
            is_new = note.allows(annotation) and self._post(note, annotation, deadline)
        return None if note.answer is None else note.answer | {"is_new": is_new}

    def _post(self, note: AnnotationNote, annotation: NewAnnotation, deadline: float) -> bool:
        """Post the annotation, and return whether FullStory has it for sure."""
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
        from airflow_provider_fullstory.task.annotation_post import post

        hook = FullStoryHook(self.fullstory_conn_id, retry_for=RETRY_FOR, deadline=deadline)
        with hook as self._hook:
            try:
                post(note, annotation, self._hook)
            except FullStoryError as error:
                if error.is_ambiguous:
                    # A mark must not hold up a pipeline, and no retry could tell more.
                    self.log.warning("%s", error)
                    return False
                if note.is_retriable:
                    raise
                # A retry would post nothing, and succeed.
                raise airflow_error(error, AirflowFailException) from None
        return True

    def on_kill(self) -> None:
        """Send nothing more; the task ends with the request that is in flight."""
        if self._hook is not None:
            self._hook.close()
