"""What the demo and the tests ask of Airflow's REST API, in the way its UI asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import httpx


class AirflowApiError(Exception):
    """Say what Airflow does not like about a request."""


@dataclass(frozen=True)
class TaskInstance:
    """
    What one task of a run is doing; `map_index` is -1 for a task that is not mapped.

    :param rendered_map_index: What the UI shows of a mapped task instead of its number, if anything.
    :param hostname: The name of the machine on which its last try began; empty before the first one.
    :param triggerer: The name of the machine whose triggerer it waits in, if it does.
    """

    task_id: str
    map_index: int
    rendered_map_index: str | None
    state: str | None
    try_number: int
    max_tries: int
    start_date: datetime | None
    rendered_fields: dict[str, Any]
    hostname: str
    triggerer: str | None


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG; `run_type` is "scheduled", "manual", "backfill" or "asset_triggered"."""

    run_id: str
    run_type: str
    state: str
    data_interval_start: datetime | None
    data_interval_end: datetime | None


class AirflowApi:
    """
    Talk to an Airflow 3 in which everybody is an administrator.

    :param url: Address of the API server.
    """

    prefix = "/api/v2"

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _client(self) -> httpx.Client:
        # The first call to some parts of the API server makes it busy for seconds; and never ask a proxy.
        client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        self._log_in(client)
        return client

    def _log_in(self, client: httpx.Client) -> None:
        token = client.get("/auth/token").raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"

    def forget_login(self) -> None:
        """Log in again with the next call: a login ends after a day."""
        self.__dict__.pop("_client", None)

    def is_up(self) -> bool:
        """Return whether the API server answers."""
        try:
            return httpx.get(f"{self.url}{self.prefix}/version", timeout=60, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def serves_tasks(self) -> bool:
        """Return whether the part of the API server that running tasks talk to answers."""
        return httpx.get(f"{self.url}/execution/health", timeout=60, trust_env=False).is_success

    def unhealthy_components(self) -> list[str]:
        """Return the names of the components that have not yet given a sign of life."""
        health = self._get("/monitor/health")
        return [name for name, component in health.items() if component["status"] != "healthy"]

    def has_dag(self, dag_id: str) -> bool:
        """Return whether the DAG was parsed and can be run."""
        return self._client.get(f"{self.prefix}/dags/{dag_id}").is_success

    def task(self, dag_id: str, task_id: str) -> dict[str, Any]:
        """Return what a task is in the DAG as Airflow knows it now, such as its `retries`."""
        task: dict[str, Any] = self._get(f"/dags/{dag_id}/tasks/{task_id}")
        return task

    def import_errors(self) -> list[str]:
        """Return why DAG files could not be parsed."""
        return [error["stack_trace"] for error in self._get("/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler make and start runs of a DAG."""
        self._send("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Keep the scheduler from making and starting runs of a DAG."""
        self._send("PATCH", f"/dags/{dag_id}", {"is_paused": True})

    def unpaused_dags(self) -> list[str]:
        """Return the DAGs whose runs the scheduler makes and starts."""
        return [dag["dag_id"] for dag in self._get("/dags", paused="false", limit=100)["dags"]]

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Mark a run as failed, which ends its tasks."""
        self._send("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": "failed"})

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        logical_date: datetime | None = None,
        run_id: str | None = None,
    ) -> str:
        """
        Unpause a DAG, start a run of it and return the id of the run.

        :param dag_id: The DAG.
        :param conf: The parameters of the run.
        :param logical_date: What the UI fills in with the present time; Airflow 3 makes a run without a date
            and so without a data interval where it is missing, Airflow 2 takes the present time.
        :param run_id: The id of the run, instead of one that Airflow makes.
        """
        self.unpause(dag_id)
        body: dict[str, Any] = {"conf": conf or {}} | self._dated(logical_date)
        if run_id is not None:
            body["dag_run_id"] = run_id
        answer: dict[str, str] = self._send("POST", f"/dags/{dag_id}/dagRuns", body).json()
        return answer["dag_run_id"]

    def _dated(self, logical_date: datetime | None) -> dict[str, Any]:
        return {"logical_date": logical_date and logical_date.isoformat()}

    def dag_runs(self, dag_id: str) -> list[DagRun]:
        """Return all runs of a DAG, the latest last."""
        runs = self._get(f"/dags/{dag_id}/dagRuns", order_by="start_date", limit=100)["dag_runs"]
        return [
            DagRun(
                run_id=run["dag_run_id"],
                run_type=run["run_type"],
                state=run["state"],
                data_interval_start=_moment(run["data_interval_start"]),
                data_interval_end=_moment(run["data_interval_end"]),
            )
            for run in runs
        ]

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Do what the button "Delete" of a run does."""
        self._send("DELETE", f"/dags/{dag_id}/dagRuns/{run_id}")

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Do what the button "Mark failed" does."""
        self._mark(dag_id, run_id, task_id, "failed")

    def mark_success(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Do what the button "Mark success" does."""
        self._mark(dag_id, run_id, task_id, "success")

    def _mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._send("PATCH", path, {"new_state": state})

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        keep_task_state: bool = False,
        latest_version: bool = False,
    ) -> None:
        """
        Do what the button "Clear" of a task does.

        :param dag_id: The DAG.
        :param run_id: The run.
        :param task_id: The task; all its map indexes are cleared.
        :param keep_task_state: Tick "Keep task state", which only Airflow 3.4 knows; others always keep it.
        :param latest_version: Tick "Run with latest version", which Airflow 3 knows: the number of retries is
            that of the DAG as it is now; Airflow 2 always takes that.
        """
        # The UI leaves the fields out where the boxes are not ticked.
        ticked = {"keep_task_state": keep_task_state, "run_on_latest_version": latest_version}
        body = self._cleared(run_id, task_id) | {name: True for name, value in ticked.items() if value}
        self._send("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def _cleared(self, run_id: str, task_id: str) -> dict[str, Any]:
        return {
            "dag_run_id": run_id,
            "dry_run": False,
            "include_downstream": True,
            "only_failed": False,
            "task_ids": [task_id],
        }

    def mark_run_failed(self, dag_id: str, run_id: str) -> None:
        """Do what the button "Mark failed" of a run does."""
        self._send("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": "failed"})

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Do what the button "Clear" of a run does."""
        self._send("POST", f"/dags/{dag_id}/dagRuns/{run_id}/clear", {"dry_run": False})

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run, such as "running"."""
        state: str = self._get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return all tasks of a run."""
        answer = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return [
            TaskInstance(
                task_id=instance["task_id"],
                map_index=instance["map_index"],
                rendered_map_index=instance["rendered_map_index"],
                state=instance["state"],
                try_number=instance["try_number"],
                max_tries=instance["max_tries"],
                start_date=_moment(instance["start_date"]),
                rendered_fields=instance["rendered_fields"],
                hostname=instance["hostname"] or "",
                triggerer=(instance["triggerer_job"] or {}).get("hostname"),
            )
            for instance in answer["task_instances"]
        ]

    def xcoms(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all XComs of a run, each with `task_id`, `map_index`, `key` and `value`."""
        run = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return [
            self._get(
                f"{run}/{entry['task_id']}/xcomEntries/{entry['key']}",
                map_index=entry["map_index"],
                deserialize=False,
                stringify=False,
            )
            for entry in self._get(f"{run}/~/xcomEntries")["xcom_entries"]
        ]

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return what a task returned."""
        return self._get(
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value",
            map_index=map_index,
            stringify=False,
        )["value"]

    def connection_forms(self) -> dict[str, dict[str, Any]]:
        """Return how the UI shows each type of connection."""
        answer = self._client.get("/ui/connections/hook_meta").raise_for_status().json()
        return {form["connection_type"]: form for form in answer}

    def test_connection(self, **connection: Any) -> dict[str, Any]:
        """Return what the button "Test" of a connection says: `status` and `message`."""
        result: dict[str, Any] = self._send("POST", "/connections/test", connection).json()
        return result

    def pool_slots(self) -> dict[str, int]:
        """Return the numbers of slots of the default pool: `occupied_slots`, `deferred_slots` and others."""
        pool: dict[str, int] = self._get("/pools/default_pool")
        return pool

    def set_pool(self, name: str, slots: int) -> None:
        """Make a pool, or change it, in which deferred tasks count."""
        pool = {"name": name, "slots": slots, "include_deferred": True}
        answer = self._client.post(f"{self.prefix}/pools", json=pool)
        if answer.status_code == httpx.codes.CONFLICT:
            answer = self._client.patch(f"{self.prefix}/pools/{name}", json=pool)
        answer.raise_for_status()

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._client.get(f"{self.prefix}{path}", params=parameters).raise_for_status().json()

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        answer = self._client.request(method, f"{self.prefix}{path}", json=body)
        if answer.is_client_error:
            raise AirflowApiError(f"Airflow answers {answer.status_code} to {method} {path}: {answer.text}")
        return answer.raise_for_status()


class Airflow2Api(AirflowApi):
    """Talk to an Airflow 2, whose API differs in details, and where nobody has to log in."""

    prefix = "/api/v1"

    def _log_in(self, client: httpx.Client) -> None:
        """Do nothing: whoever is not logged in is an administrator."""

    def serves_tasks(self) -> bool:
        """Return True: tasks talk to the database."""
        return True

    def unhealthy_components(self) -> list[str]:
        """Return the names of the components that have not yet given a sign of life."""
        health = self._get("/health")
        # The DAG processor is a part of the scheduler, and has no status.
        return [name for name, component in health.items() if component["status"] not in {"healthy", None}]

    def follows_datasets(self, dag_id: str) -> bool:
        """Return whether a DAG is known to follow a dataset; an alias has to stand for one first."""
        return bool(self._get("/datasets", dag_ids=dag_id)["datasets"])

    def _dated(self, logical_date: datetime | None) -> dict[str, Any]:
        return super()._dated(logical_date) if logical_date else {}

    def _mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._send("PATCH", path, {"new_state": state, "dry_run": False})

    def _cleared(self, run_id: str, task_id: str) -> dict[str, Any]:
        return super()._cleared(run_id, task_id) | {"reset_dag_runs": True}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
