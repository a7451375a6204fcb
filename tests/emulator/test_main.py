from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import textwrap

import pytest
import requests

from airflow_provider_fullstory.emulator.client import EmulatorClient

COMMAND = [sys.executable, "-m", "airflow_provider_fullstory.emulator", "--port", "0"]
HEADERS = {"Authorization": "Basic na1.emulator/architect"}


def address_in(line):
    return re.search(r"http://\S+", line)[0]


@contextlib.contextmanager
def running(*options):
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, EmulatorClient(address_in(process.stdout.readline()))
        finally:
            # Not killed, so that it removes its temporary data.
            process.terminate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_stops_in_good_order(number):
    with running("--processing-seconds", "2.5") as (process, emulator):
        assert requests.get(f"{emulator.url}/me", headers=HEADERS, timeout=30).status_code == 200
        assert emulator.configure()["processing_seconds"] == 2.5
        process.send_signal(number)
        assert process.wait(30) == 0
        assert emulator.url in process.stdout.read()


def test_habits_are_options():
    habits = ("replay_server_errors", "omit_total_records", "repeat_last_page_token")
    with running(*(f"--{habit.replace('_', '-')}" for habit in habits)) as (_, emulator):
        settings = emulator.configure()
        assert all(settings[habit] is True for habit in habits)


def test_what_was_accepted_outlives_a_kill(tmp_path):
    data = str(tmp_path / "fullstory.sqlite")
    headers = HEADERS | {"Idempotency-Key": "k"}
    batch = {"requests": [{"name": "A"}, {"name": ""}]}
    with running("--data", data) as (process, emulator):
        first = requests.post(f"{emulator.url}/v2/events/batch", json=batch, headers=headers, timeout=30)
        emulator.advance_clock(3600)
        jobs, events = emulator.jobs(), emulator.events()
        process.kill()
    with running("--data", data) as (_, emulator):
        assert emulator.jobs() == jobs
        assert emulator.events() == events
        assert len(events) == 1
        second = requests.post(f"{emulator.url}/v2/events/batch", json=batch, headers=headers, timeout=30)
        assert second.json() == first.json()
        assert emulator.requests()[0]["replayed"]
        assert emulator.requests()[0]["time"] > first.json()["job"]["created"]


def is_gone(url):
    try:
        requests.get(f"{url}/me", headers=HEADERS, timeout=30)
    except requests.ConnectionError:
        return True
    return False


def test_it_exits_with_its_parent(eventually):
    code = f"""
        import subprocess, sys, time
        subprocess.Popen({[*COMMAND, "--exit-with-parent"]!r})
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        url = address_in(parent.stdout.readline())
        assert not is_gone(url)
        parent.kill()
        eventually(lambda: is_gone(url))


def test_a_taken_port_is_an_error():
    with running() as (_, emulator):
        port = emulator.url.rpartition(":")[2]
        second = subprocess.run(
            [*COMMAND[:-1], port], capture_output=True, text=True, timeout=30, check=False
        )
    assert second.returncode == 1
    assert "in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_setting_that_makes_no_sense_is_an_error():
    done = subprocess.run(
        [*COMMAND, "--page-size", "0"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "page_size" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--port", "99999"], "--port"),
        (["--port", "-1"], "--port"),
        (["--data", "/nonexistent/data"], "/nonexistent/data"),
        (["--data", __file__], "test_main.py"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error(arguments: list[str], word: str):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert word in done.stderr
    assert "Traceback" not in done.stderr
