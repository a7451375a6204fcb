from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient


@dataclasses.dataclass
class Api:
    """Call the API the way a careful client does."""

    url: str
    key: str = "na1.emulator/architect"

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Authorization": f"Basic {self.key}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return requests.request(method, self.url + path, data=data, headers=headers, timeout=30)

    def get(self, path: str) -> requests.Response:
        return self.call("GET", path)

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        return self.call("POST", path, body, **headers)

    def post_events(self, *events: dict[str, Any], **headers: str) -> requests.Response:
        return self.post("/v2/events/batch", {"requests": list(events)}, **headers)

    def import_events(self, *events: dict[str, Any], shared: dict[str, Any] | None = None) -> str:
        body = {"requests": list(events)} | ({"shared": shared} if shared else {})
        return job_path("events", self.post("/v2/events/batch", body))

    def import_users(self, *users: dict[str, Any]) -> str:
        return job_path("users", self.post("/v2/users/batch", {"requests": list(users)}))


def job_path(resource: str, response: requests.Response) -> str:
    assert response.status_code == 200, response.text
    return f"/v2/{resource}/batch/{quote(response.json()['job']['id'], safe='')}"


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    return wait_until


@pytest.fixture
def api(fullstory_emulator: EmulatorClient) -> Api:
    return Api(fullstory_emulator.url)
