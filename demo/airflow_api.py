"""What the demo and the tests ask of Airflow's public REST API."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class TaskInstance:
    """What one task of a run is doing; `map_index` is -1 for a task that is not mapped."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    rendered_fields: dict[str, Any]


class AirflowApi:
    """
    Talk to an Airflow in which everybody is an administrator.

    :param url: Address of the API server.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _client(self) -> httpx.Client:
        # The first call to some parts of the API server makes it busy for seconds; and never ask a proxy.
        client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        token = client.get("/auth/token").raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        return client

    def is_up(self) -> bool:
        """Return whether the API server answers."""
        try:
            return httpx.get(f"{self.url}/api/v2/version", timeout=60, trust_env=False).is_success
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
        return self._client.get(f"/api/v2/dags/{dag_id}").is_success

    def import_errors(self) -> list[str]:
        """Return why DAG files could not be parsed."""
        return [error["stack_trace"] for error in self._get("/importErrors")["import_errors"]]

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        data_interval: tuple[datetime, datetime] | None = None,
    ) -> str:
        """Unpause a DAG, start a run of it and return the id of the run."""
        self._client.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        run: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
        if data_interval is not None:
            start, end = (moment.isoformat() for moment in data_interval)
            run |= {"logical_date": start, "data_interval_start": start, "data_interval_end": end}
        answer = self._client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=run).raise_for_status().json()
        run_id: str = answer["dag_run_id"]
        return run_id

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Do what the button "Mark failed" does."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._client.patch(path, json={"new_state": "failed"}).raise_for_status()

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Do what the button "Clear" does."""
        wanted = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        path = f"/api/v2/dags/{dag_id}/clearTaskInstances"
        self._client.post(path, json=wanted).raise_for_status()

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
                state=instance["state"],
                try_number=instance["try_number"],
                rendered_fields=instance["rendered_fields"],
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
        answer = self._client.post("/api/v2/connections/test", json=connection).raise_for_status()
        result: dict[str, Any] = answer.json()
        return result

    def pool_slots(self) -> dict[str, int]:
        """Return the numbers of slots of the default pool: `occupied_slots`, `deferred_slots` and others."""
        pool: dict[str, int] = self._get("/pools/default_pool")
        return pool

    def set_pool(self, name: str, slots: int) -> None:
        """Make a pool, or change it, in which deferred tasks count."""
        pool = {"name": name, "slots": slots, "include_deferred": True}
        answer = self._client.post("/api/v2/pools", json=pool)
        if answer.status_code == httpx.codes.CONFLICT:
            answer = self._client.patch(f"/api/v2/pools/{name}", json=pool)
        answer.raise_for_status()

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._client.get(f"/api/v2{path}", params=parameters).raise_for_status().json()
