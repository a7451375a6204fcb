"""The state of an import, which outlives the tries of its task: the ledger and the staged batches."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
from airflow_provider_fullstory.batch_import.ledger.stores import FolderStore, MemoryStore, TaskStateStore
from airflow_provider_fullstory.batch_import.staging.staging_area import BODIES, StagingArea
from airflow_provider_fullstory.batch_import.storage.outages import Outages
from airflow_provider_fullstory.batch_import.storage.retention import note_use, remove_old
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryLedgerError
from airflow_provider_fullstory.syncs.memory import ImportWitness
from airflow_provider_fullstory.task.identity import digest, run_identity
from airflow_provider_fullstory.task.storage import run_name, task_folder

if TYPE_CHECKING:
    import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
    from airflow_provider_fullstory.batch_import.ledger.batch_ledger import Witness
    from airflow_provider_fullstory.batch_import.ledger.stores import Store
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.task.arguments import DurableArguments, StateArguments

#: The key of what all imports, or annotations, of a run share.
HISTORY: Final = "history"
#: The key of the DAG run that an import belongs to.
_RUN: Final = "run"


class ImportState:
    """
    Keep what a task knows of an import from one try to the next.

    :param stores: Hold the ledger, and what is known of the run.
    :param runs: The folder of all runs of the task, None without a ``state_uri``.
    :param name: Name of the run's folder in it.
    :param folder: The import's folder, in the folder of the run.
    :param is_staged: Whether batches are staged there.
    :param sync_import: The import of a sync, None if the task has no sync.
    """

    def __init__(
        self,
        context: Context,
        identity: RunIdentity,
        ledger: Ledger,
        stores: Stores,
        *,
        runs: Folder | None,
        name: str,
        folder: Folder | None,
        is_staged: bool,
        sync_import: SyncImport | None = None,
    ) -> None:
        self.identity = identity
        self._sync_import = sync_import
        self.ledger = ledger
        self.folder = folder
        self._context = context
        self._stores = stores
        self._runs = runs
        self._name = name
        self._is_staged = is_staged

    @property
    def description(self) -> str:
        """What prevents records from being sent twice, for the log: a line or two."""
        return self._stores.description

    @property
    def owner(self) -> RunIdentity:
        """The identity of the import that owns the file of refused records."""
        of_sync = self._sync_import
        if of_sync is None:
            return self.identity
        run = dataclasses.replace(self.identity, salt=self.identity.salt.rpartition("#")[0])
        return of_sync.identity(run, of_sync.first_number)

    def note_try(self) -> None:
        """
        Note that a try works on the run.

        This comes first: if the try fails before anything is sent, the next one knows that nothing was sent.
        """
        if self._runs is not None:
            note_use(self._runs, self._name, time.time())
        history = self._stores.of_run.get(HISTORY)
        if history is None:
            history = {"sent_since": sent_since(self._context)}
        # used_at says when the run was last worked on.
        self._stores.of_run.set(HISTORY, history | {"used_at": time.time()})
        # A sync remembers all that it has sent.
        self._sent_since: float | None = None if self._sync_import else history["sent_since"]
        known = self._stores.of_import.get(_RUN)
        run = _description(self._context)
        is_new = known is None or _is_another(run, known)
        run["id"] = uuid.uuid4().hex[:16] if known is None or is_new else known["id"]
        self._stores.of_import.set(_RUN, run)
        self._run: str = run["id"]

    def begin(self, fingerprint: str | None) -> ImportReport | None:
        """
        Begin the import, or resume what an earlier try began; see ``Ledger.begin``.

        :param fingerprint: Fingerprint of the source and its mapping, None if the data itself is given.
        """
        report = self.ledger.begin(
            fingerprint,
            try_number=self._context["ti"].try_number,
            sent_since=self._sent_since,
            run=self._run,
        )
        if self.folder is not None and self.ledger.is_new:
            # Batches that were staged under this name hold the rows of another time.
            self.folder.remove(BODIES)
        return report

    def staging_area(self, fingerprint: str | None) -> StagingArea | None:
        """
        Return the area where batches are staged, None if they are not.

        :param fingerprint: Fingerprint of the source and its mapping, None if the data itself is given.
        """
        if not self._is_staged or self.folder is None:
            return None
        return StagingArea(self.folder, self.ledger.import_id, fingerprint)

    def clean_up(self) -> None:
        """Remove the staged batches of an import that succeeded, and the state of old runs."""
        # A try that Airflow took for dead must not remove files that its successor reads.
        if self.folder is not None and self._is_staged and self.ledger.is_own:
            self.folder.remove(BODIES)
        if (runs := self._runs) is not None:
            remove_old(runs, time.time(), lambda name: last_used(runs.folder(name)))


@dataclasses.dataclass(frozen=True)
class SyncImport:
    """
    Name one import of a sync.

    :param number: Its number in the sync.
    :param first_number: The number of the import of the task's first try, if that did not succeed: they share
        the file of refused records.
    :param folder: Its folder in the folder of the sync.
    :param witness: Learns of its batches.
    """

    number: int
    first_number: int
    folder: Folder
    witness: Witness | None

    @staticmethod
    def identity(run: RunIdentity, number: int) -> RunIdentity:
        """Return the identity of an import of a run: a run that is cleared may have several."""
        return dataclasses.replace(run, salt=f"{run.salt}#{number}")


@dataclasses.dataclass(frozen=True)
class Stores:
    """
    Hold the state of an import.

    :param of_run: Holds what several imports of a run share: operators in one task, or other salts.
    :param of_import: Holds the ledger.
    :param description: What prevents records from being sent twice, for the log: a line or two.
    """

    of_run: Store
    of_import: Store
    description: str


def state_uri_of(arguments: DurableArguments) -> str | None:
    """Return the folder of all state, None if neither the arguments nor Airflow's configuration name it."""
    if arguments.state_uri is not None:
        return arguments.state_uri
    return conf.get("fullstory", "state_uri", fallback="") or None


def import_state(
    context: Context,
    task_id: str,
    arguments: StateArguments,
    *,
    is_upserted: bool = False,
    sync_import: SyncImport | None = None,
    outages: Outages | None = None,
) -> ImportState:
    """
    Return the state of an import, with the best protection that this Airflow and the arguments allow.

    :param task_id: The operator's own id: several operators may be executed inside one task.
    :param arguments: The arguments of the operator. ``state_uri`` is by default ``[fullstory] state_uri`` of
        Airflow's configuration.
    :param is_upserted: Whether FullStory changes what it has when a record is sent again.
    :param sync_import: The import of a sync, None if the task has no sync. The folder of the sync then holds
        the ledger, so that another run can settle the import.
    :param outages: Waits out outages of the storage.
    :raises FullStoryInputError: If the arguments contradict each other.
    """
    uri = state_uri_of(arguments)
    if not arguments.durable and (arguments.state_uri is not None or arguments.stage_batches):
        argument = "stage_batches" if arguments.state_uri is None else "state_uri"
        raise FullStoryInputError(f"{argument} is given with durable=False, which says to keep nothing.")
    if arguments.stage_batches and uri is None:
        raise FullStoryInputError(
            "stage_batches=True needs a folder for the batches: set state_uri, or [fullstory] state_uri in "
            "Airflow's configuration."
        )
    run = run_identity(context, task_id, arguments.idempotency_salt)
    task = of_task(run, context)
    outages = outages or Outages()
    runs = task_folder(uri, task, outages) if uri is not None and arguments.durable else None
    run_folder = None if runs is None else runs.folder(run_name(task))
    if sync_import is not None and run_folder is not None:
        folder: Folder | None = sync_import.folder
        stores = Stores(
            FolderStore(run_folder),
            FolderStore(sync_import.folder),
            f"a ledger in {sync_import.folder}",
        )
    else:
        folder = None if run_folder is None else run_folder.folder(digest(run))
        stores = _stores(
            context, run, run_folder, outages, durable=arguments.durable, is_upserted=is_upserted
        )
    if sync_import is not None:
        witness = sync_import.witness
    else:
        # What is sent again must count, so FullStory has to finish first what it was sent before.
        witness = ImportWitness(None, folder) if is_upserted and folder is not None else None
    return ImportState(
        context,
        run if sync_import is None else sync_import.identity(run, sync_import.number),
        Ledger(
            stores.of_import,
            resends_unknown=arguments.on_ambiguous == "resend",
            resends_changed=arguments.on_source_change == "resend",
            is_upserted=is_upserted,
            witness=witness,
        ),
        stores,
        runs=runs,
        name=run_name(task),
        folder=folder,
        is_staged=arguments.stage_batches,
        sync_import=sync_import,
    )


def sync_tries(
    context: Context, task_id: str, arguments: StateArguments, uri: str, outages: Outages
) -> Store:
    """
    Return the store in which the tries of a task note their imports of a sync.

    :param task_id: The operator's own id.
    :param uri: The folder of all state.
    :param outages: Waits out outages of the storage.
    """
    run = run_identity(context, task_id, arguments.idempotency_salt)
    task = of_task(run, context)
    runs = task_folder(uri, task, outages)
    return FolderStore(runs.folder(run_name(task)).folder(digest(run)))


def last_used(run_folder: Folder) -> float | None:
    """Return when a try last worked on a run, in seconds since the epoch; None if that is not known."""
    try:
        history = FolderStore(run_folder).get(HISTORY)
        return None if history is None else float(history["used_at"])
    except (FullStoryLedgerError, LookupError, TypeError, ValueError):
        # A history that cannot be read is of no use to a try either.
        return None


def sent_since(context: Context) -> float | None:
    """
    Return the earliest time at which earlier tries can have sent something, None if there were none.

    Airflow forgets at a clear when the run really started, so then the time counts at which it was due.
    """
    if context["ti"].try_number <= 1:
        return None
    run: Any = context.get("dag_run")
    names = ["start_date"]
    if getattr(run, "clear_number", 1) or run.start_date is None:
        names += ["run_after", "data_interval_end", "logical_date"]
    moments: list[datetime.datetime | None] = [getattr(run, name, None) for name in names]
    return min((moment.timestamp() for moment in moments if moment is not None), default=0.0)


def of_task(run: RunIdentity, context: Context) -> RunIdentity:
    """Return what several imports of a task have in common, whatever their operators and salts."""
    return dataclasses.replace(run, task_id=context["ti"].task_id, salt="")


def _stores(
    context: Context,
    run: RunIdentity,
    run_folder: Folder | None,
    outages: Outages,
    *,
    durable: bool,
    is_upserted: bool,
) -> Stores:
    keys_only = (
        "A retry sends all records again, which changes nothing that FullStory has already"
        if is_upserted
        else "Idempotency keys alone keep a retry from sending a batch twice, for 24 hours"
    )
    if not durable:
        return Stores(MemoryStore(), MemoryStore(), f"no ledger, since durable=False.\n{keys_only}")
    accessor = context.get("task_state_store")
    in_airflow = None if accessor is None else TaskStateStore(accessor, "fullstory", outages)
    if run_folder is not None:
        in_folder = FolderStore(run_folder)
        # An earlier try may have begun before state_uri was set.
        if in_airflow is None or in_folder.get(HISTORY) is not None or in_airflow.get(HISTORY) is None:
            return Stores(
                in_folder,
                FolderStore(run_folder.folder(digest(run))),
                f"a ledger in {run_folder}",
            )
    if accessor is not None and in_airflow is not None:
        return Stores(
            in_airflow,
            TaskStateStore(accessor, f"fullstory_{digest(run)}", outages),
            "a ledger in Airflow's task state store",
        )
    return Stores(
        MemoryStore(),
        MemoryStore(),
        "no ledger, since state_uri is not set and Airflow has a task state store from 3.3 on only.\n"
        f"{keys_only}",
    )


def _description(context: Context) -> dict[str, Any]:
    """Return what distinguishes a try's DAG run from a deleted one that had the same id."""
    run: Any = context.get("dag_run")
    start = getattr(run, "start_date", None)
    return {
        "try_number": context["ti"].try_number,
        "clear_number": getattr(run, "clear_number", None) or 0,
        "start": None if start is None else start.timestamp(),
    }


def _is_another(run: dict[str, Any], known: dict[str, Any]) -> bool:
    """Return whether a run was deleted and created again since an earlier try described it."""
    # The tries of a run count up, and only a clear moves its start.
    if run["try_number"] <= known["try_number"] or run["clear_number"] < known["clear_number"]:
        return True
    return bool(run["clear_number"] == known["clear_number"] and run["start"] != known["start"])
