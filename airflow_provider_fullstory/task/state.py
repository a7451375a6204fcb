"""What outlives a try of a task, in Airflow's terms: where an import's ledger is kept, and its bodies."""

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
from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryLedgerError,
)
from airflow_provider_fullstory.task.storage import digest, run_name, task_folder

if TYPE_CHECKING:
    import datetime
    from typing import Literal

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
    from airflow_provider_fullstory.batch_import.ledger.stores import Store
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.storage.folder import Folder

#: Where a run keeps what all of its imports share.
_HISTORY: Final = "history"
#: Where an import keeps which DAG run it belongs to.
_RUN: Final = "run"


class ImportState:
    """
    What a task remembers of an import from one try to the next.

    :param ledger: Its ledger.
    :param stores: Where the ledger is kept, and what is known of the run.
    :param runs: The folder of all runs of the task, None where there is no ``state_uri``.
    :param name: Name of the run's folder in it.
    :param folder: The import's folder, in that of the run.
    :param is_staged: Whether batches wait there between two tries.
    :param outages: Waits out outages of where they are kept.
    """

    def __init__(
        self,
        ledger: Ledger,
        stores: Stores,
        *,
        outages: Outages,
        runs: Folder | None,
        name: str,
        folder: Folder | None,
        is_staged: bool,
    ) -> None:
        self.ledger = ledger
        self.outages = outages
        self.folder = folder
        self._stores = stores
        self._runs = runs
        self._name = name
        self._is_staged = is_staged

    @property
    def description(self) -> str:
        """What protects against doubles, for the log."""
        return self._stores.description

    def note_try(self, context: Context) -> None:
        """
        Note that a try works on the run.

        Comes first of all: where the try fails before anything is sent, the next one then knows that.

        :param context: The task's context.
        """
        if self._runs is not None:
            note_use(self._runs, self._name, time.time())
        history = self._stores.of_run.get(_HISTORY)
        if history is None:
            history = {"sent_since": _sent_since(context)}
        # Also tells when the run was last worked on.
        self._stores.of_run.set(_HISTORY, history | {"used_at": time.time()})
        self._sent_since: float | None = history["sent_since"]
        known = self._stores.of_import.get(_RUN)
        run = _described_run(context)
        run["id"] = uuid.uuid4().hex[:16] if known is None or _is_another(run, known) else known["id"]
        self._stores.of_import.set(_RUN, run)
        self._run: str = run["id"]

    def begin(self, context: Context, arguments: str | None) -> ImportReport | None:
        """
        Begin the import, or go on with what an earlier try began; see ``Ledger.begin``.

        :param context: The task's context.
        :param arguments: Fingerprint of what the source and its mapping are, None where the data is at hand.
        """
        report = self.ledger.begin(
            arguments,
            try_number=context["ti"].try_number,
            sent_since=self._sent_since,
            run=self._run,
        )
        if self.folder is not None and self.ledger.is_new:
            # Whatever was staged under this name holds the rows of another time.
            self.folder.remove(BODIES)
        return report

    def staging_area(self, arguments: str | None) -> StagingArea | None:
        """
        Return where batches wait between two tries, None where they do not.

        :param arguments: Fingerprint of what the source and its mapping are, None where the data is at hand.
        """
        if not self._is_staged or self.folder is None:
            return None
        return StagingArea(self.folder, self.ledger.import_id, arguments)

    def clean_up(self) -> None:
        """Remove what an import that succeeded no longer needs, and the state of runs of long ago."""
        # A try that Airflow took for dead must not remove what its successor reads.
        if self.folder is not None and self._is_staged and self.ledger.is_own:
            self.folder.remove(BODIES)
        if (runs := self._runs) is not None:
            remove_old(runs, time.time(), lambda name: _last_used(runs.folder(name)))


@dataclasses.dataclass(frozen=True)
class Stores:
    """
    Where the state of an import is kept.

    :param of_run: Holds what is known of the run, which several imports share: operators in one task, salts.
    :param of_import: Holds the ledger.
    :param description: What protects against doubles, for the log: a line or two.
    """

    of_run: Store
    of_import: Store
    description: str


def import_state(
    context: Context,
    run: RunIdentity,
    *,
    durable: bool,
    state_uri: str | None,
    stage_batches: bool,
    on_ambiguous: Literal["fail", "resend"],
    on_source_change: Literal["fail", "resend"],
) -> ImportState:
    """
    Return the best protection that this Airflow and the task's arguments allow.

    :param context: The task's context.
    :param run: What names the import.
    :param durable: Whether anything is to outlive a try.
    :param state_uri: Folder of the state of all tasks; by default ``[fullstory] state_uri`` of Airflow's
        configuration.
    :param stage_batches: Whether batches wait there between two tries.
    :param on_ambiguous: What to do with a batch of unknown outcome.
    :param on_source_change: What to do where the source no longer gives what was sent.
    """
    uri = state_uri
    if uri is None:
        uri = conf.get("fullstory", "state_uri", fallback="") or None
    if not durable and (state_uri is not None or stage_batches):
        argument = "stage_batches" if state_uri is None else "state_uri"
        raise FullStoryInputError(f"{argument} is given with durable=False, which says to keep nothing.")
    if stage_batches and uri is None:
        raise FullStoryInputError(
            "stage_batches=True needs a folder for the batches: set state_uri, or [fullstory] state_uri in "
            "Airflow's configuration."
        )
    # Several operators may be executed inside one task: the run is the task's.
    task = dataclasses.replace(run, task_id=context["ti"].task_id, salt="")
    outages = Outages()
    runs = task_folder(uri, task, outages) if uri is not None and durable else None
    folder = None if runs is None else runs.folder(run_name(task)).folder(digest(run))
    run_folder = None if runs is None else runs.folder(run_name(task))
    stores = _stores(context, run, run_folder, outages, durable=durable)
    ledger = Ledger(stores.of_import, on_ambiguous=on_ambiguous, on_source_change=on_source_change)
    return ImportState(
        ledger,
        stores,
        outages=outages,
        runs=runs,
        name=run_name(task),
        folder=folder,
        is_staged=stage_batches,
    )


def _stores(
    context: Context, run: RunIdentity, run_folder: Folder | None, outages: Outages, *, durable: bool
) -> Stores:
    keys_only = "Idempotency keys alone keep a retry from sending a batch twice, for 24 hours"
    if not durable:
        return Stores(MemoryStore(), MemoryStore(), f"no ledger, since durable=False.\n{keys_only}")
    accessor = context.get("task_state_store")
    in_airflow = None if accessor is None else TaskStateStore(accessor, "fullstory", outages)
    if run_folder is not None:
        in_folder = FolderStore(run_folder)
        # An earlier try may have begun before state_uri was set.
        if in_airflow is None or in_folder.get(_HISTORY) is not None or in_airflow.get(_HISTORY) is None:
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


def _last_used(run_folder: Folder) -> float | None:
    try:
        history = FolderStore(run_folder).get(_HISTORY)
        return None if history is None else float(history["used_at"])
    except (FullStoryLedgerError, LookupError, TypeError, ValueError):
        # What cannot be read is of no use to a try either.
        return None


def _described_run(context: Context) -> dict[str, Any]:
    """Return what tells a try's DAG run from one that was deleted, and had the same id."""
    run: Any = context.get("dag_run")
    start = getattr(run, "start_date", None)
    return {
        "try_number": context["ti"].try_number,
        "clear_number": getattr(run, "clear_number", None) or 0,
        "start": None if start is None else start.timestamp(),
    }


def _is_another(run: dict[str, Any], known: dict[str, Any]) -> bool:
    """Return whether a run was deleted and made anew since it was described."""
    # The tries of a run count up, and only a clear moves its start.
    if run["try_number"] <= known["try_number"] or run["clear_number"] < known["clear_number"]:
        return True
    return bool(run["clear_number"] == known["clear_number"] and run["start"] != known["start"])


def _sent_since(context: Context) -> float | None:
    """
    Return the earliest moment at which an earlier try can have sent something, None where there was no such.

    A clear makes Airflow forget when a run really started, so then the time at which it was due counts.
    """
    if context["ti"].try_number <= 1:
        return None
    run: Any = context.get("dag_run")
    names = ["start_date"]
    if getattr(run, "clear_number", 1) or run.start_date is None:
        names += ["run_after", "data_interval_end", "logical_date"]
    moments: list[datetime.datetime | None] = [getattr(run, name, None) for name in names]
    return min((moment.timestamp() for moment in moments if moment is not None), default=0.0)
