"""Operators that import events and users into FullStory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.operators.annotations import FullStoryAnnotationOperator
from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
from airflow_provider_fullstory.task.hidden_records import RecordsField

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from airflow_provider_fullstory.task.arguments import ImportEventsArguments, ImportUsersArguments
    from airflow_provider_fullstory.task.source import RecordSource

__all__ = ["FullStoryAnnotationOperator", "FullStoryImportEventsOperator", "FullStoryImportUsersOperator"]


class FullStoryImportEventsOperator(FullStoryImportOperator):
    """
    Import events into FullStory, from XCom, files, or the result of a query.

    Give exactly one of ``events`` and ``sql``. The name of a column (or key) says where its value goes:
    ``name``, ``timestamp``, ``user.uid``, ``user.id``, ``session.id``, ``context.browser.url`` and the other
    fields of FullStory's events. ``properties.x``, and each other name, becomes a property.

    Retries, clears, syncs, the report, and the parameters that are not listed here, are those of
    :class:`~airflow_provider_fullstory.operators.imports.FullStoryImportOperator`.

    .. seealso:: developer.fullstory.com/server/events/create-batch-events-import-job

    :param events: A list or other iterable of dicts, the output of a task (mapped tasks too), or the location
        of files of newline-delimited JSON (plain or gzip) in any object storage: the URI of a file, such as
        an earlier ``rejected_uri``, a pattern, a folder (with a slash at its end), or a list of these. Files
        are read in the order of their names. (templated, but not inside dicts)
    :param event_name: The name of all events, if no column holds it. (templated)
    :param shared: The fields that all events have in common, as the API has them: any of user, session,
        context and page_properties. (templated)
    :param allow_anonymous: Whether an event may have neither user nor session. FullStory would create a user
        for each, which would hide a mapping that lost the user.
    :param allow_missing_timestamp: Whether events are sent whose ``timestamp`` is NULL (or lacks the key that
        ``mapping`` names). FullStory would give them the time of the import, and so ruin their history. A
        source without any column or key for it is always allowed.
    :param check_quota: Whether an import fails if it does not fit into the organization's monthly quota of
        server events. Nothing is sent then if at most 500,000 events are left, or if batches are staged; with
        more left, the batches that fit are sent.
    """

    template_fields: Sequence[str] = (
        "events",
        "event_name",
        "shared",
        *FullStoryImportOperator.template_fields,
    )
    template_fields_renderers = {  # noqa: RUF012 - The form that Airflow's operators give it.
        **FullStoryImportOperator.template_fields_renderers,
        "shared": "json",
    }
    events = RecordsField()

    def __init__(
        self,
        *,
        events: Any = None,
        event_name: str | None = None,
        shared: Mapping[str, Any] | None = None,
        allow_anonymous: bool = False,
        allow_missing_timestamp: bool = False,
        check_quota: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.events = events
        self.event_name = event_name
        self.shared = shared
        self.allow_anonymous = allow_anonymous
        self.allow_missing_timestamp = allow_missing_timestamp
        self.check_quota = check_quota

    def _checked_arguments(self) -> ImportEventsArguments:
        """Return the arguments in their declared types."""
        from airflow_provider_fullstory.task.arguments import ImportEventsArguments, checked

        return checked(ImportEventsArguments, vars(self))

    def _source(self, arguments: ImportEventsArguments) -> RecordSource:
        """Return the source of the events."""
        from airflow_provider_fullstory.records.kinds import EVENTS
        from airflow_provider_fullstory.task.source import RecordSource, mapping_options

        options = mapping_options(
            EVENTS,
            arguments,
            name=arguments.event_name,
            shared=arguments.shared,
            allow_anonymous=arguments.allow_anonymous,
            allow_missing_timestamp=arguments.allow_missing_timestamp,
        )
        return RecordSource(arguments.events, arguments, options)


class FullStoryImportUsersOperator(FullStoryImportOperator):
    """
    Import users into FullStory, from XCom, files, or the result of a query.

    FullStory makes a user whose ``uid`` it does not know, and changes one whom it knows. What a record does
    not have, or has as NULL, stays as it is in FullStory.

    Give exactly one of ``users`` and ``sql``. The name of a column (or key) says where its value goes:
    ``uid`` (your own id of the user), ``email``, ``display_name``, and ``id`` (FullStory's own id).
    ``properties.x``, and each other name, becomes a property. A table's own column ``id`` is seldom
    FullStory's: select it as ``uid``.

    A record with the ``uid`` or the ``id`` of an earlier record of the same import is refused: FullStory does
    not say which of the two would count.

    With ``insert_id="*"``, only users are sent whose record differs from the one that the sync imported last.
    Users do not count against the quota of server events.

    Retries, clears, syncs, the report, and the parameters that are not listed here, are those of
    :class:`~airflow_provider_fullstory.operators.imports.FullStoryImportOperator`.

    .. seealso:: developer.fullstory.com/server/users/create-batch-user-import-job

    :param users: A list or other iterable of dicts, the output of a task (mapped tasks too), or the location
        of files of newline-delimited JSON: all that ``events`` of the operator for events takes. (templated,
        but not inside dicts)
    :param allow_anonymous: Whether a user may have neither ``uid`` nor ``id``. FullStory makes a new user for
        each, every time; so it takes ``on_source_change="fail"``.
    :param drop_invalid_properties: Whether a property that FullStory would leave out without a word is left
        out here and counted, rather than refused with its record: one of more than 8,192 bytes, one beyond
        500 of a user, or one whose name is not letters, digits and underscores after a letter.
    :param on_source_change: What to do if the source no longer gives the batches that an earlier try sent:
        ``resend`` the batches that changed, by default, since users are upserted; or ``fail``.
    """

    template_fields: Sequence[str] = ("users", *FullStoryImportOperator.template_fields)
    users = RecordsField()

    def __init__(
        self,
        *,
        users: Any = None,
        allow_anonymous: bool = False,
        drop_invalid_properties: bool = False,
        on_source_change: Literal["fail", "resend"] = "resend",
        **kwargs: Any,
    ) -> None:
        super().__init__(on_source_change=on_source_change, **kwargs)
        self.users = users
        self.allow_anonymous = allow_anonymous
        self.drop_invalid_properties = drop_invalid_properties

    def _checked_arguments(self) -> ImportUsersArguments:
        """Return the arguments in their declared types."""
        from airflow_provider_fullstory.task.arguments import ImportUsersArguments, checked

        return checked(ImportUsersArguments, vars(self))

    def _source(self, arguments: ImportUsersArguments) -> RecordSource:
        """Return the source of the users."""
        from airflow_provider_fullstory.exceptions import FullStoryInputError
        from airflow_provider_fullstory.records.kinds import USERS
        from airflow_provider_fullstory.task.source import RecordSource, mapping_options

        if arguments.allow_anonymous and arguments.on_source_change == "resend":
            raise FullStoryInputError(
                'allow_anonymous=True does not fit on_source_change="resend", the default for users: '
                "FullStory would make all anonymous users of a batch that changed anew. Nothing was sent. "
                'Set on_source_change="fail"; where a source that has changed is to be sent again all the '
                "same, set another idempotency_salt."
            )
        options = mapping_options(
            USERS,
            arguments,
            allow_anonymous=arguments.allow_anonymous,
            drops_invalid_properties=arguments.drop_invalid_properties,
        )
        return RecordSource(arguments.users, arguments, options)
