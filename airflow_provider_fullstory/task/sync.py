"""The sync that a task works on, from the operator's arguments and the task's context."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryLedgerError
from airflow_provider_fullstory.syncs.border import check_border
from airflow_provider_fullstory.syncs.definition import SyncDefinition
from airflow_provider_fullstory.syncs.folders import sync_folder
from airflow_provider_fullstory.syncs.import_files import import_folder
from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds
from airflow_provider_fullstory.syncs.memory import ImportMemory, ImportWitness
from airflow_provider_fullstory.syncs.parameters import watermark_in, with_value
from airflow_provider_fullstory.syncs.record import OpenImport, read_record
from airflow_provider_fullstory.syncs.settlement import Settling
from airflow_provider_fullstory.syncs.sync import Sync
from airflow_provider_fullstory.syncs.watermark_column import WatermarkColumn
from airflow_provider_fullstory.task.state import SyncImport, state_uri_of, sync_tries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.batch_import.storage.outages import Outages
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
    from airflow_provider_fullstory.records.options import MappingOptions
    from airflow_provider_fullstory.task.arguments import ImportArguments

#: The key of a DAG run's configuration that asks for a full refresh.
_FULL_REFRESH: Final = "full_refresh"
#: The key under which the tries of a task note their imports.
_TRIES: Final = "sync"


def is_sync(arguments: ImportArguments) -> bool:
    """
    Return whether a task remembers what it imported from one run to the next.

    :raises FullStoryInputError: If arguments of a sync are given without one.
    """
    if arguments.insert_id or watermark_in(arguments.parameters) is not None:
        return True
    given = [name for name in ("sync_name", "full_refresh") if getattr(arguments, name)]
    if given:
        raise FullStoryInputError(
            f"{given[0]} is given, but there is nothing to remember: give a Watermark among the parameters, "
            "or insert_id, or both. Nothing was sent."
        )
    return False


def previewed(
    dag_id: str, task_id: str, arguments: ImportArguments, options: MappingOptions
) -> ImportArguments:
    """
    Return arguments for a preview: with the watermark's value, if its state can be read, or its first value.

    :param dag_id: The DAG, which names the sync by default.
    :param task_id: The operator's own id, which names it too.
    """
    if not is_sync(arguments) or watermark_in(arguments.parameters) is None:
        return arguments
    definition = sync_definition(dag_id, task_id, arguments, options)
    folder = sync_folder(_state_uri(arguments), definition.name)
    since = definition.since(read_record(folder))
    return msgspec.structs.replace(arguments, parameters=with_value(arguments.parameters, since))


def sync_definition(
    dag_id: str, task_id: str, arguments: ImportArguments, options: MappingOptions, *, conf: Any = None
) -> SyncDefinition:
    """
    Return what the sync of a task is.

    :param dag_id: The DAG, which names the sync by default.
    :param task_id: The operator's own id, which names it too.
    :param conf: The configuration of the DAG run.
    :raises FullStoryInputError: If the arguments contradict each other, or would send records twice.
    """
    watermark = watermark_in(arguments.parameters)
    is_upserted = options.is_upserted
    if not arguments.wait_for_completion:
        raise FullStoryInputError(
            "wait_for_completion=False does not fit a Watermark or insert_id: a sync remembers what "
            "FullStory's jobs have verified. Nothing was sent. Leave it out; with deferrable=True the task "
            "waits without a worker slot."
        )
    _check_insert_id(options)
    if watermark is not None:
        if arguments.sql is None:
            raise FullStoryInputError("parameters has a Watermark, but there is no sql that it could be for.")
        is_repeatable = bool(options.insert_id) or is_upserted
        check_border(arguments.sql, arguments.parameters, watermark, is_repeatable=is_repeatable)
    return SyncDefinition(
        name=arguments.sync_name or f"{dag_id}.{task_id}",
        resource=arguments.resource.value,
        watermark=watermark,
        insert_id=options.insert_id_definition(),
        id_bytes=options.insert_id_bytes,
        zone=options.zone,
        is_upserted=is_upserted,
        is_full_refresh=_is_full_refresh(arguments, task_id, conf, is_upserted=is_upserted),
    )


def _check_insert_id(options: MappingOptions) -> None:
    """Refuse an insert id that names what a record changes, rather than the change."""
    paths = {".".join(path) for path in options.insert_id_paths()}
    if paths and paths.issubset(options.kind.upsert_key):
        kind = options.kind
        raise FullStoryInputError(
            f"insert_id is {', '.join(sorted(paths))}, which names a {kind.noun} forever: each {kind.noun} "
            "would be sent once, and no change of it ever after. Nothing was sent. "
            f'Set insert_id="*", which sends {kind.resource} whose content changed; or name the column of '
            "their last update too."
        )


def _state_uri(arguments: ImportArguments) -> str:
    uri = state_uri_of(arguments)
    if uri is None or not arguments.durable:
        why = "durable=False says to keep nothing" if uri is not None else "state_uri is not set"
        raise FullStoryInputError(
            f"A Watermark or insert_id needs a folder that remembers what was imported, and {why}. Nothing "
            "was sent. Set state_uri, or [fullstory] state_uri in Airflow's configuration, to a folder in "
            "any object storage. Airflow's asset state store cannot hold it: it has no lock, so two runs at "
            "the same time would send records twice."
        )
    return uri


def _is_full_refresh(arguments: ImportArguments, task_id: str, conf: Any, *, is_upserted: bool) -> bool:
    asked = conf.get(_FULL_REFRESH) if isinstance(conf, dict) else None
    is_asked = task_id in asked if isinstance(asked, list) else bool(asked)
    if (arguments.full_refresh or is_asked) and not (arguments.insert_id or is_upserted):
        raise FullStoryInputError(
            "A full refresh without insert_id would send all records again, and FullStory cannot delete what "
            "is doubled. Nothing was sent. Give the sync an insert_id, so that only what is missing is sent. "
            "If all is to be sent again on purpose, reset the watermark: fullstory-sync reset NAME."
        )
    return arguments.full_refresh or is_asked


class TaskSync:
    """
    Let the import of a task work on its sync.

    :param operator: The operator.
    :param arguments: Its arguments.
    :param options: How rows become records.
    :param hook: Calls FullStory.
    :param outages: Waits out outages of the storage.
    :param deadline: When the task gives up, in seconds since the epoch.
    :param stopped: Set when the task is stopped.
    :raises FullStoryInputError: If the arguments contradict each other, or would send records twice.
    """

    def __init__(
        self,
        context: Context,
        operator: BaseOperator,
        arguments: ImportArguments,
        *,
        options: MappingOptions,
        hook: FullStoryHook,
        outages: Outages,
        deadline: float,
        stopped: Event,
    ) -> None:
        instance = context["ti"]
        self._arguments = arguments
        self._hook = hook
        self._options = options
        self._definition = sync_definition(
            instance.dag_id,
            operator.task_id,
            arguments,
            options,
            conf=getattr(context.get("dag_run"), "conf", None),
        )
        me = OpenImport(
            number=0,
            dag_id=instance.dag_id,
            run_id=instance.run_id,
            task_id=operator.task_id,
            map_index=-1 if instance.map_index is None else instance.map_index,
            began_at="",
        )
        uri = _state_uri(arguments)
        self._tries = sync_tries(context, operator.task_id, arguments, uri, outages)
        self._sync = Sync(
            sync_folder(uri, self._definition.name, outages),
            self._definition,
            me,
            f"{me}, try {instance.try_number}, process {os.getpid()} on {socket.gethostname()}",
            Settling(
                hook.imports(arguments.resource),
                options,
                resends_unknown=arguments.on_ambiguous == "resend",
                poll_interval=arguments.poll_interval,
                deadline=deadline,
                stopped=stopped,
            ),
        )
        self._column: WatermarkColumn | None = None

    def sync_import(self) -> SyncImport:
        """Note that this try works on the import, and return it."""
        known = self._tries.get(_TRIES)
        first = known["first"] if known and not known["is_done"] else self._sync.number
        self._note(first, is_done=False)
        return SyncImport(self._sync.number, first, self.folder, self._witness())

    @property
    def arguments(self) -> str:
        """The arguments by which another task imports for this sync; empty unless it knows insert ids."""
        insert_id = self._arguments.insert_id
        return f"sync_name={self._definition.name!r} and insert_id={insert_id!r}" if insert_id else ""

    def resumed(self) -> SyncImport:
        """
        Return the import that an earlier process has begun, after the wait in the triggerer.

        :raises FullStoryLedgerError: If that is not known any more.
        """
        known = self._tries.get(_TRIES)
        if known is None:
            raise FullStoryLedgerError(
                f"The state of this task in {_state_uri(self._arguments)} is gone, so it is not known which "
                f"import of sync {self._definition.name!r} it is. All was sent. The next run of the sync "
                "accounts for it."
            )
        self._sync.number = known["number"]
        return SyncImport(known["number"], known["first"], self.folder, None)

    def _note(self, first: int, *, is_done: bool) -> None:
        self._tries.set(_TRIES, {"number": self._sync.number, "first": first, "is_done": is_done})

    @property
    def folder(self) -> Folder:
        """The folder of the import."""
        return import_folder(self._sync.folder, self._sync.number)

    @property
    def column(self) -> WatermarkColumn | None:
        """Notes the highest value of the watermark's column, None if the import has no watermark."""
        return self._column

    def begin(self) -> ImportArguments:
        """
        Begin an import of the sync, or resume it, and return the arguments with the watermark's value.

        :raises FullStoryError: If that is not possible now, with what to do.
        """
        self._sync.take_hold()
        since = self._sync.begin(self._organization())
        watermark = self._definition.watermark
        if watermark is None:
            return self._arguments
        known = self._sync.record.watermark
        self._column = WatermarkColumn(
            watermark.column,
            sync=self._definition.name,
            kind=self._options.kind,
            zone=self._definition.zone,
            known=None if known is None else known.value,
            refuses_null=not self._definition.is_repeatable,
        )
        return msgspec.structs.replace(
            self._arguments, parameters=with_value(self._arguments.parameters, since)
        )

    def _organization(self) -> str:
        """Return the organization that the connection leads to, if its key may do what is needed."""
        account = self._hook.get_account()
        if self._definition.insert_id and not account.reads_results:
            raise FullStoryInputError(
                f"The connection has an API key of level {account.level}, which cannot read which records "
                "FullStory rejected. With insert_id that must be known: other records would be lost, or sent "
                "twice. Nothing was sent. Give the connection a key of level Architect or Admin."
            )
        return account.org_id

    def _witness(self) -> ImportWitness | None:
        hold = self._sync.hold
        folder = self.folder if self._definition.is_repeatable else None
        return None if hold is None else ImportWitness(hold, folder)

    @contextmanager
    def memory(self, ledger: Ledger) -> Iterator[ImportMemory]:
        """Open what the import needs of the sync while it sends."""
        ids = self._sync.record.insert_ids
        if ids is None or not self._definition.insert_id:
            yield ImportMemory(None, self.folder, ledger.records_of, self._all_read)
            return
        with ImportedIds(self._sync.folder, ids) as imported:
            self._sync.keep_ids(imported.fold(ids, self._sync.number))
            yield ImportMemory(imported, self.folder, lambda _: None, self._all_read)

    def _all_read(self) -> None:
        if self._column is not None:
            self._sync.note_highest(self._column.highest)

    def sent(self, invalid: int) -> None:
        """
        Note that all was sent, and let others work on the sync.

        :param invalid: How many records were never sent.
        """
        self._sync.sent(invalid=invalid)

    def finish(self, outcomes: Sequence[JobOutcome], *, is_success: bool) -> str | None:
        """
        Note what the import has brought to FullStory, and return where the watermark is, if there is one.

        :param outcomes: The outcomes of its jobs, as far as they are known.
        :param is_success: Whether no more records were refused than the task allows.
        """
        watermark = self._sync.finish(outcomes, is_success=is_success)
        if is_success and (known := self._tries.get(_TRIES)) is not None:
            self._note(known["first"], is_done=True)
        return None if watermark is None else watermark.value.value

    def release(self) -> None:
        """Let others work on the sync."""
        self._sync.release()
