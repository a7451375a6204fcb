"""The metrics of an import while it runs, as a StatsD server gets them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.common.compat.sdk import Stats
from datadog.dogstatsd import DogStatsd
from statsd import StatsClient

from airflow_provider_fullstory.task import metrics
from tests.conftest import run
from tests.logs import importing
from tests.tries import orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient

try:
    from airflow.sdk._shared.observability.metrics import datadog_logger, stats, statsd_logger
except ImportError:
    from airflow.metrics import datadog_logger, statsd_logger

    stats = None

_SECONDS_TO_ARRIVE = 60.0


class StatsDServer:
    """A StatsD server on loopback, with the lines that it was sent."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_SECONDS_TO_ARRIVE)
        self.port = self._socket.getsockname()[1]
        self.lines: list[str] = []

    def wait_for(self, is_it: Callable[[str], bool]) -> str:
        """Return the first line that is the one; fail if none arrives."""
        while True:
            for line in self._socket.recv(65536).decode().splitlines():
                self.lines.append(line)
                if is_it(line):
                    return line

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[StatsDServer]:
    opened = StatsDServer()
    yield opened
    opened.close()


def use(logger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Airflow write its metrics with a logger of its own."""
    if stats is None:
        monkeypatch.setattr(Stats, "instance", logger)
    else:
        monkeypatch.setattr(stats, "_backend", logger)


def plain(server: StatsDServer, *, has_tags: bool = False) -> Any:
    return statsd_logger.SafeStatsdLogger(
        StatsClient("127.0.0.1", server.port, "airflow"),
        influxdb_tags_enabled=has_tags,
        # Airflow 2 reads this from its configuration.
        **({} if stats is None else {"statsd_influxdb_enabled": has_tags}),
    )


def datadog(server: StatsDServer) -> Any:
    return datadog_logger.SafeDogStatsdLogger(
        DogStatsd("127.0.0.1", server.port, namespace="airflow", disable_telemetry=True), metrics_tags=True
    )


@pytest.mark.parametrize("form", ["plain", "influxdb", "datadog"])
def test_metrics_arrive_while_the_import_still_runs(
    emulator: EmulatorClient, context: Any, server: StatsDServer, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(metrics, "SECONDS_BETWEEN_METRICS", 0.05)
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", str(form == "influxdb"))
    logger = datadog(server) if form == "datadog" else plain(server, has_tags=form == "influxdb")
    use(logger, monkeypatch)
    dag_id = importing(events=[]).dag_id
    name = "airflow.fullstory.records.accepted"
    tags = f",dag_id={dag_id},task_id=import" if form == "influxdb" else ""
    suffix = f"|#dag_id:{dag_id},task_id:import" if form == "datadog" else ""

    emulator.configure(processing_seconds=3600)
    task = importing(events=orders(25), batch_size=25, deferrable=False, poll_interval=0.05, timeout=60)

    def finish_once_metrics_arrive() -> list[str]:
        server.wait_for(lambda line: line == f"{name}{tags}:25|c{suffix}")
        server.wait_for(lambda line: line.startswith("airflow.fullstory.jobs.oldest_seconds"))
        seen = list(server.lines)
        emulator.advance_clock(7200)
        return seen

    # The import ends only if its metrics arrive before.
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(finish_once_metrics_arrive)
        run(task, context)
    assert not any("records.imported" in line for line in seen.result())
    server.wait_for(lambda line: line == f"airflow.fullstory.records.imported{tags}:25|c{suffix}")
    server.wait_for(lambda line: line == f"airflow.fullstory.jobs.oldest_seconds{tags}:0|g{suffix}")
    # Each record was counted once.
    accepted = [line for line in server.lines if line.startswith(name)]
    assert [line for line in accepted if ":0|c" not in line] == [f"{name}{tags}:25|c{suffix}"]


def test_metrics_that_cannot_be_written_do_not_fail_an_import(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As a company's own logger may fail; those of Airflow do not.
    failing = Mock(side_effect=ConnectionError("no server"))
    use(Mock(incr=failing, gauge=failing, timing=failing), monkeypatch)
    monkeypatch.setattr(metrics, "SECONDS_BETWEEN_METRICS", 0.01)

    assert run(importing(events=orders(25), batch_size=5), context)["imported"] == 25

    [message] = [message for message in caplog.messages if "no server" in message]
    assert message == (
        "Airflow's metrics do not take fullstory.retries, and maybe others; the import goes on. "
        "ConnectionError: no server"
    )


def test_answers_of_429_and_the_wait_after_them_are_counted(
    emulator: EmulatorClient, context: Any, server: StatsDServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(plain(server), monkeypatch)
    emulator.order_fault(method="POST", status=429, headers={"Retry-After": "1"}, times=2)

    run(importing(events=orders(25), batch_size=25), context)

    server.wait_for(lambda line: line.startswith("airflow.fullstory.jobs.oldest_seconds"))
    assert "airflow.fullstory.rate_limited:2|c" in server.lines
    waited = [line for line in server.lines if line.startswith("airflow.fullstory.waited.rate_limit:")]
    assert sum(int(line.split(":")[1].split("|")[0]) for line in waited) >= 2
