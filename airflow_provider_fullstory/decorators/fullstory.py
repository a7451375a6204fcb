"""The decorators ``@task.fullstory_events`` and ``@task.fullstory_users``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import DecoratedOperator, context_merge, task_decorator_factory

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
from airflow_provider_fullstory.operators.imports import FullStoryImportOperator

try:
    from airflow.sdk.bases.decorator import determine_kwargs
except ImportError:
    # Where Airflow 2, 3.0 and 3.1 have it; common-compat leads there only from 1.14.1 on.
    from airflow.utils.operator_helpers import determine_kwargs  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, TaskDecorator

    from airflow_provider_fullstory.batch_import.reporting.preview import Preview


class _ImportOperator(DecoratedOperator, FullStoryImportOperator):
    """
    Import what a function returns or yields.

    The function runs in each try, as a query does. What it gives is never in XCom, and is read as it comes,
    so a generator takes as little memory as a query.
    """

    #: The operator's argument for the records.
    records_argument: ClassVar[str]

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Call the function, and import what it gives.

        :param context: The task's context.
        """
        context_merge(context, self.op_kwargs)
        arguments = determine_kwargs(self.python_callable, self.op_args, context)
        self._take(self.python_callable(*self.op_args, **arguments))
        return FullStoryImportOperator.execute(self, context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """
        End the import after the wait in the triggerer; the function is not called again.

        :param context: The task's context.
        :param event: The event of the trigger.
        """
        self._take(())
        return super().execute_complete(context, event)

    def preview(self, limit: int | None = 1000) -> Preview:
        """
        Call the function without a context, and return what an import would be; nothing is sent.

        A function that asks for Airflow's context gets its own defaults for it.

        :param limit: How many records to read at most, None for all.
        """
        self._take(self.python_callable(*self.op_args, **self.op_kwargs))
        return super().preview(limit)

    def _take(self, records: Iterable[Any]) -> None:
        if records is None:
            raise FullStoryInputError(
                f"The function {self.python_callable.__name__} returned None. It has to return or yield "
                f"{self.records_argument}; without any, an empty list."
            )
        setattr(self, self.records_argument, records)


class _FullStoryEventsDecoratedOperator(_ImportOperator, FullStoryImportEventsOperator):
    """Import the events that a function returns or yields."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *FullStoryImportEventsOperator.template_fields,
    )
    template_fields_renderers = {  # noqa: RUF012 - The form that Airflow's operators give it.
        **DecoratedOperator.template_fields_renderers,
        **FullStoryImportEventsOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.fullstory_events"
    records_argument = "events"


class _FullStoryUsersDecoratedOperator(_ImportOperator, FullStoryImportUsersOperator):
    """Import the users that a function returns or yields."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *FullStoryImportUsersOperator.template_fields,
    )
    template_fields_renderers = {  # noqa: RUF012 - The form that Airflow's operators give it.
        **DecoratedOperator.template_fields_renderers,
        **FullStoryImportUsersOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.fullstory_users"
    records_argument = "users"


def fullstory_events_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """
    Make a task of a function that returns or yields events, and import these.

    Airflow offers it as ``@task.fullstory_events``. The events are dicts, nested as in FullStory's API or
    flat with dotted keys, and never go through XCom. The function runs in each try: let it give the same
    events in the same order. The task returns the report of the import.

    Airflow shows the arguments of the function in the UI, as those of every TaskFlow task. Read rows in the
    function, rather than passing them to it.

    :param python_callable: The function.
    :param kwargs: Arguments of
        :class:`~airflow_provider_fullstory.operators.fullstory.FullStoryImportEventsOperator`, but not
        ``events`` and ``sql``.
    """
    return task_decorator_factory(
        python_callable, decorated_operator_class=_FullStoryEventsDecoratedOperator, **kwargs
    )


def fullstory_users_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """
    Make a task of a function that returns or yields users, and import these.

    Airflow offers it as ``@task.fullstory_users``. What is said of
    :func:`~airflow_provider_fullstory.decorators.fullstory.fullstory_events_task` holds for it.

    :param python_callable: The function.
    :param kwargs: Arguments of
        :class:`~airflow_provider_fullstory.operators.fullstory.FullStoryImportUsersOperator`, but not
        ``users`` and ``sql``.
    """
    return task_decorator_factory(
        python_callable, decorated_operator_class=_FullStoryUsersDecoratedOperator, **kwargs
    )
