"""Post an annotation between two entries of its note."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from msgspec.structs import asdict

from airflow_provider_fullstory.exceptions import FullStoryError

if TYPE_CHECKING:
    from airflow_provider_fullstory.api.annotations import NewAnnotation
    from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook
    from airflow_provider_fullstory.task.annotation_note import AnnotationNote


def post(note: AnnotationNote, annotation: NewAnnotation, hook: FullStoryHook) -> None:
    """
    Post an annotation that its note allows.

    :raises FullStoryError: If no answer says that FullStory has it.
    """
    try:
        note.begin(annotation)
        answer = hook.create_annotation(**asdict(annotation))
    except FullStoryError as error:
        note.fail(error)
        raise
    except BaseException as interruption:
        if isinstance(failure := interruption.__cause__, FullStoryError):
            # Airflow ended the task while no request was under way.
            note.fail(failure)
        raise
    note.end(answer)


async def post_async(note: AnnotationNote, annotation: NewAnnotation, hook: FullStoryAsyncHook) -> None:
    """Post an annotation without blocking the event loop; see :func:`post`."""
    try:
        await sync_to_async(note.begin)(annotation)
        answer = await hook.create_annotation(**asdict(annotation))
    except FullStoryError as error:
        await sync_to_async(note.fail)(error)
        raise
    except BaseException as interruption:
        if isinstance(failure := interruption.__cause__, FullStoryError):
            await sync_to_async(note.fail)(failure)
        raise
    await sync_to_async(note.end)(answer)
