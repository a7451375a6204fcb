"""
The arguments of operators and sensors, each declared once.

Airflow renders arguments to text, and upstream tasks may return anything, so arguments are checked when a
task runs. Text that spells a number or a boolean is converted. This module is heavy: import it when a task
runs, not when a DAG file is parsed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from airflow_provider_fullstory.api.jobs import MAX_BATCH_RECORDS, Resource
from airflow_provider_fullstory.batch_import.sending.importer import MAX_PARALLEL_UPLOADS
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.sources.locations import is_location
from airflow_provider_fullstory.task.hidden_records import HiddenRecords

#: Characters of a value that an error shows.
_SHOWN_CHARACTERS: Final = 200
#: Longer than any sensible wait, and far below the limits of clocks and threads.
_YEAR_SECONDS: Final = 366 * 24 * 3600

_Boolean = Annotated[bool, Meta(description="True or False")]
_Count = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
_PositiveCount = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
_Seconds = Annotated[float, Meta(ge=0, le=_YEAR_SECONDS, description="seconds, from 0 to a year")]
_SecondsAbove0 = Annotated[float, Meta(gt=0, le=_YEAR_SECONDS, description="seconds, from above 0 to a year")]
_Text = Annotated[str, Meta(description="text")]
_Name = Annotated[str, Meta(min_length=1, description="text that is not empty")]
_OptionalText = Annotated[str | None, Meta(description="text")]
_OptionalUri = Annotated[
    Annotated[str, Meta(min_length=1)] | None,
    Meta(description="a URI, or left out"),
]
_FailOrResend = Annotated[Literal["fail", "resend"], Meta(description="'fail' or 'resend'")]
_Names = Annotated[str | list[str], Meta(description="the name of a column, or a list of names")]
_MaxRejected = Annotated[
    Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0, lt=1)],
    Meta(description="a number of records (int, from 0), or a share of all (float, from 0, below 1)"),
]


class DurableArguments(msgspec.Struct, kw_only=True, frozen=True):
    """Arguments about where a try keeps what the next one must know."""

    durable: _Boolean
    state_uri: _OptionalUri


class StateArguments(DurableArguments, kw_only=True, frozen=True):
    """Arguments about the state of an import."""

    stage_batches: _Boolean
    on_ambiguous: _FailOrResend
    on_source_change: _FailOrResend
    idempotency_salt: _Text


class RunArguments(StateArguments, kw_only=True, frozen=True):
    """Arguments about how records are sent, checked and waited for; the fingerprint leaves them out."""

    record_key: _Names
    insert_id: Annotated[
        str | list[str] | None,
        Meta(description="the name of a column, a list of names, '*' for the whole record, or left out"),
    ] = None
    sync_name: Annotated[
        Annotated[str, Meta(min_length=1)] | None, Meta(description="text that is not empty, or left out")
    ] = None
    full_refresh: _Boolean = False
    max_parallel_uploads: Annotated[
        int, Meta(ge=1, le=MAX_PARALLEL_UPLOADS, description=f"1 to {MAX_PARALLEL_UPLOADS}")
    ]
    max_outstanding_records: _PositiveCount
    max_rejected: _MaxRejected
    min_records: _Count
    skip_if_empty: _Boolean
    rejected_uri: _OptionalUri
    log_values: _Boolean
    check_quota: _Boolean = False
    wait_for_completion: _Boolean
    deferrable: _Boolean
    poll_interval: _Seconds
    timeout: _SecondsAbove0
    fullstory_conn_id: _Name


class ImportArguments(RunArguments, kw_only=True, frozen=True):
    """Arguments of each operator, with the source of the records and the size of batches."""

    resource: ClassVar[Resource]

    sql: Annotated[str | None, Meta(description="one SELECT, as text")]
    sql_conn_id: Annotated[str | None, Meta(description="the id of a connection, as text")]
    #: The driver of the database checks them.
    parameters: Any
    hook_params: Annotated[dict[str, Any] | None, Meta(description="a dict: argument of the hook -> value")]
    mapping: Annotated[dict[str, str] | None, Meta(description="a dict of text: field of the API -> column")]
    timezone: Annotated[str, Meta(min_length=1, description="a name such as 'UTC' or 'Europe/Berlin'")]
    schema: Annotated[dict[str, str] | None, Meta(description="a dict of text: name of the property -> type")]
    exclude_columns: _Names
    json_columns: _Names = msgspec.field(default_factory=list)
    batch_size: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_BATCH_RECORDS,
            description=f"1 to {MAX_BATCH_RECORDS:,}, FullStory's limit for a batch",
        ),
    ]
    max_batch_bytes: _PositiveCount

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the source and its mapping, None if the records themselves were given."""
        names = [name for name in self.__struct_fields__ if name not in RunArguments.__struct_fields__]
        values = {name: getattr(self, name) for name in names}
        if any(isinstance(value, HiddenRecords) for value in values.values()):
            return None
        return fingerprint(values)


class ImportEventsArguments(ImportArguments, kw_only=True, frozen=True):
    """Arguments of the operator that imports events; its documentation says what each means."""

    resource: ClassVar[Resource] = Resource.EVENTS

    #: Records, or what leads to them: the source checks it.
    events: Any
    event_name: _OptionalText
    shared: Annotated[
        dict[str, Any] | None,
        Meta(description="a dict with any of user, session, context and page_properties"),
    ]
    allow_anonymous: _Boolean
    allow_missing_timestamp: _Boolean


class ImportUsersArguments(ImportArguments, kw_only=True, frozen=True):
    """Arguments of the operator that imports users; its documentation says what each means."""

    resource: ClassVar[Resource] = Resource.USERS

    #: Records, or what leads to them: the source checks it.
    users: Any
    allow_anonymous: _Boolean
    drop_invalid_properties: _Boolean


class AnnotationArguments(DurableArguments, kw_only=True, frozen=True):
    """Arguments of the operator, or the notifier, that posts an annotation."""

    text: _Text
    #: FullStory's rules for an annotation check them.
    start_time: Any
    end_time: Any
    source: _OptionalText
    fullstory_conn_id: _Name


class ImportJobSensorArguments(msgspec.Struct, kw_only=True, frozen=True):
    """Arguments of the sensor, without ``job_ids``; its documentation says what each means."""

    resource: Annotated[Literal["events", "users"], Meta(description="'events' or 'users'")]
    deferrable: _Boolean
    max_rejected: _MaxRejected
    rejected_uri: _OptionalUri
    log_values: _Boolean
    fullstory_conn_id: _Name


Arguments = TypeVar("Arguments", bound=msgspec.Struct)


def checked(kind: type[Arguments], given: Mapping[str, Any]) -> Arguments:
    """
    Return arguments in the types that are declared for them.

    :param given: The values by name; values of undeclared names are ignored.
    :raises FullStoryInputError: Naming each argument that is wrong, and what it must be.
    """
    values, problems = {}, []
    for field in msgspec.structs.fields(kind):
        if field.name not in given:
            continue
        value = given[field.name]
        try:
            values[field.name] = (
                value if field.type is Any else msgspec.convert(_plain(value), field.type, strict=False)
            )
        except msgspec.ValidationError:
            problems.append(f"{field.name} is {_shown(value)}; it must be {_meaning(field.type)}.")
    if problems:
        raise FullStoryInputError(" ".join(problems))
    return kind(**values)


def _plain(value: Any) -> Any:
    """Return a path object as text; a location may be given as either."""
    return str(value) if is_location(value) else value


def _meaning(declared: Any) -> str:
    meanings: list[str] = [note.description for note in get_args(declared)[1:] if note.description]
    return meanings[0]


def _shown(value: Any) -> str:
    """Return a value for an error, unless it may hold rows of data."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        return f"text of {len(value)} characters"
    items = value.values() if isinstance(value, Mapping) else value
    if isinstance(items, (list, tuple, set)) and any(
        isinstance(item, (Mapping, list, tuple)) for item in items
    ):
        return f"a {type(value).__name__}"
    if not isinstance(value, (str, int, float, list, tuple, set, dict, type(None))):
        return f"of type {type(value).__name__}"
    # Python writes no number of thousands of digits.
    text = (
        repr(value) if not isinstance(value, int) or abs(value) < 10**_SHOWN_CHARACTERS else "a huge number"
    )
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def fingerprint(arguments: Mapping[str, Any]) -> str:
    """
    Return the fingerprint of a source and its mapping.

    :param arguments: The rendered arguments that decide which records and batches there are.
    """
    return hashlib.sha256(json.dumps(_stable(arguments)).encode()).hexdigest()


def _stable(value: Any) -> Any:
    """Return JSON that is the same in all processes; the order of a set, for one, is not."""
    if is_location(value):
        return repr(str(value))
    if isinstance(value, Mapping):
        return sorted([repr(key), _stable(item)] for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [_stable(item) for item in value]
    return sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else repr(value)
