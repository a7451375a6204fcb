"""Files on a worker's disk are warned of where other workers may need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.notifications.fullstory import FullStoryAnnotationNotifier
from airflow_provider_fullstory.operators.fullstory import FullStoryAnnotationOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.conftest import run
from tests.logs import Log, importing
from tests.tries import orders

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("emulator")

CELERY = "CeleryExecutor"
KUBERNETES = "airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor"
WARNED = "on this machine's disk"


@pytest.fixture(autouse=True)
def executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", CELERY)
    monkeypatch.delenv("AIRFLOW_IS_K8S_EXECUTOR_POD", raising=False)


def import_with(context: Any, **arguments: Any) -> None:
    run(importing(events=orders(3), **arguments), context)


def test_the_state_of_an_import(context: Any, tmp_path: Path, log: Log) -> None:
    import_with(context, state_uri=f"file://{tmp_path}")

    [line] = log.having(WARNED)
    assert line == (
        "state_uri is on this machine's disk, and CeleryExecutor has several workers: what runs on another "
        "one does not find what was sent, and may send it twice. Set it to object storage, such as "
        f"s3://connection@bucket/folder, instead of file://{tmp_path}, unless all workers mount that folder."
    )


def test_staged_batches_are_a_part_of_the_state(context: Any, tmp_path: Path, log: Log) -> None:
    import_with(context, state_uri=str(tmp_path), stage_batches=True)
    assert len(log.having(WARNED)) == 1


def test_the_state_that_airflows_configuration_names(
    context: Any, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__FULLSTORY__STATE_URI", f"file://{tmp_path}")
    import_with(context)
    [line] = log.having(WARNED)
    assert line.startswith("state_uri")


def test_no_state_that_is_not_kept(
    context: Any, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__FULLSTORY__STATE_URI", f"file://{tmp_path}")
    import_with(context, durable=False)
    assert log.having(WARNED) == []


def test_refused_records(context: Any, tmp_path: Path, log: Log) -> None:
    import_with(context, rejected_uri=f"file://{tmp_path}/")
    [line] = log.having(WARNED)
    assert line.startswith("rejected_uri")
    assert "a task on another one does not find the refused records" in line


def test_refused_records_of_a_sensor(
    context: Any, tmp_path: Path, log: Log, emulator: EmulatorClient
) -> None:
    import_with(context, wait_for_completion=False)
    [job] = emulator.jobs()
    uri = f"file://{tmp_path}/refused.ndjson"
    run(FullStoryImportJobSensor(task_id="wait", job_ids=job["id"], rejected_uri=uri), context)
    [line] = log.having(WARNED)
    assert line.startswith("rejected_uri")


def test_the_note_of_an_annotation(context: Any, tmp_path: Path, log: Log) -> None:
    run(FullStoryAnnotationOperator(task_id="mark", text="Deployed", state_uri=str(tmp_path)), context)
    [line] = log.having(WARNED)
    assert line.startswith("state_uri")


def test_the_note_of_a_notifier(context: Any, tmp_path: Path, log: Log) -> None:
    FullStoryAnnotationNotifier(text="Failed", state_uri=str(tmp_path)).notify(context)
    [line] = log.having(WARNED)
    assert line.startswith("state_uri")


def test_nothing_in_object_storage(context: Any, memory: str, log: Log) -> None:
    import_with(context, state_uri=memory, rejected_uri=f"{memory}/refused/")
    assert log.having("State: a ledger in memory://")
    assert log.having(WARNED) == []


@pytest.mark.parametrize(
    ("configured", "chosen", "warned_of"),
    [
        ("LocalExecutor", None, None),
        ("SequentialExecutor", None, None),
        (CELERY, None, CELERY),
        ("KubernetesExecutor", None, "KubernetesExecutor"),
        ("CeleryKubernetesExecutor", None, "CeleryKubernetesExecutor"),
        (KUBERNETES, None, "KubernetesExecutor"),
        ("our.own.PigeonExecutor", None, "PigeonExecutor"),
        # The first one is the default, whatever others there are.
        ("LocalExecutor, CeleryExecutor", None, None),
        ("CeleryExecutor,LocalExecutor", None, CELERY),
        ("LocalExecutor,CeleryExecutor", CELERY, CELERY),
        ("CeleryExecutor,LocalExecutor", "LocalExecutor", None),
        (f"LocalExecutor,pods:{KUBERNETES}", "pods", "KubernetesExecutor"),
        (f"LocalExecutor,pods:{KUBERNETES}", KUBERNETES, "KubernetesExecutor"),
        (f"LocalExecutor,{KUBERNETES}", "KubernetesExecutor", "KubernetesExecutor"),
        # Any of the teams may be that of the task.
        ("LocalExecutor;shop=CeleryExecutor,LocalExecutor", None, CELERY),
        ("LocalExecutor;shop=LocalExecutor", None, None),
    ],
)
def test_executors_with_workers_on_several_machines(
    context: Any,
    tmp_path: Path,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    *,
    configured: str,
    chosen: str | None,
    warned_of: str | None,
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", configured)
    import_with(context, state_uri=str(tmp_path), executor=chosen)
    lines = log.having(WARNED)
    assert len(lines) == (warned_of is not None)
    assert all(f"{warned_of} has several workers" in line for line in lines)


def test_a_pod_whose_configuration_names_another_executor(
    context: Any, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    import_with(context, state_uri=str(tmp_path))
    [line] = log.having(WARNED)
    assert "KubernetesExecutor" in line
