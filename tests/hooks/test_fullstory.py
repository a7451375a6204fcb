"""What both hooks do, proven by the same tests."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.api.jobs import JobState
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryInputError,
    FullStoryNotFoundError,
    FullStoryNotReadyError,
    FullStoryPermissionError,
    FullStoryProtocolError,
    FullStoryTransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient

GOOD = {"name": "Order Completed", "user": {"uid": "u1"}}
BAD = {"user": {"uid": "u1"}}


def body(*records: dict[str, Any]) -> bytes:
    return json.dumps({"requests": records}).encode()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)


def test_an_import_of_events_is_created_and_followed(emulator: EmulatorClient, hook: Any) -> None:
    job = hook.create_import("events", body(GOOD, GOOD, BAD), "key-1")
    status = hook.get_job_status("events", job.id)
    assert status.is_finished
    assert (status.imports, status.errors, status.job.status) == (2, 1, JobState.FAILED)
    assert [event["event"] for event in emulator.events()] == [GOOD, GOOD]


def test_an_import_of_users_is_created_and_followed(emulator: EmulatorClient, hook: Any) -> None:
    job = hook.create_import("users", body({"uid": "u1", "email": "a@example.com"}), "key-1")
    assert hook.get_job_status("users", job.id).imports == 1
    [page] = hook.iter_imports("users", job.id)
    assert page.results[0]["uid"] == "u1"


def test_the_key_goes_raw_into_the_header_and_keys_and_bodies_arrive_as_given(
    emulator: EmulatorClient, hook: Any
) -> None:
    content = body(GOOD)
    hook.create_import("events", content, "key-1")
    request = emulator.requests()[-1]
    assert request["status"] == 200
    assert request["idempotency_key"] == "key-1"
    assert request["body_bytes"] == len(content)


def test_the_same_key_and_body_give_the_same_job(emulator: EmulatorClient, hook: Any) -> None:
    first = hook.create_import("events", body(GOOD), "key-1")
    assert hook.create_import("events", body(GOOD), "key-1").id == first.id
    assert len(emulator.events()) == 1


@pytest.mark.parametrize("results", ["imports", "errors"])
def test_pages_are_read_to_the_end(emulator: EmulatorClient, hook: Any, results: str) -> None:
    emulator.configure(page_size=3)
    job = hook.create_import("events", body(*[GOOD] * 7, *[BAD] * 7), "key-1")
    pages = list(getattr(hook, f"iter_{results}")("events", job.id))
    assert [len(page.results) for page in pages] == [3, 3, 1]
    assert pages[0].total_records == 7


def test_rejected_records_come_with_code_message_and_the_record(emulator: EmulatorClient, hook: Any) -> None:
    job = hook.create_import("events", body(BAD), "key-1")
    [page] = hook.iter_errors("events", job.id)
    [error] = page.results
    assert error.code == "required_field"
    assert error.message
    assert error.event == BAD


def test_what_is_returned_becomes_what_xcom_takes(emulator: EmulatorClient, hook: Any) -> None:
    good, bad = ({**record, "properties": {"n": 1.5}} for record in (GOOD, BAD))
    job = hook.create_import("events", body(good, bad), "key-1")
    [errors], [imports] = hook.iter_errors("events", job.id), hook.iter_imports("events", job.id)
    assert msgspec.to_builtins(errors, enc_hook=float)["results"][0]["event"] == bad
    assert msgspec.to_builtins(imports, enc_hook=float)["results"][0]["properties"] == {"n": 1.5}


def test_imports_can_come_with_their_schema(emulator: EmulatorClient, hook: Any) -> None:
    declared = {"properties": {"n": "int"}}
    job = hook.create_import("events", body(GOOD | {"properties": {"n": 1}, "schema": declared}), "key-1")
    [page] = hook.iter_imports("events", job.id, include_schema=True)
    assert page.results[0]["schema"]["properties"]["n"] == "int"


def test_results_of_a_job_in_flight_are_waited_for(emulator: EmulatorClient, hook: Any) -> None:
    job = hook.create_import("events", body(BAD), "key-1")
    emulator.order_fault(method="GET", path="/v2/events/batch/*/errors", status=202, times=2, body={})
    [page] = hook.iter_errors("events", job.id)
    assert len(page.results) == 1


def test_results_that_never_get_ready_end_in_an_error(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.configure(processing_seconds=3600)
    with open_hook(retry_for=0.05) as hook:
        job = hook.create_import("events", body(GOOD), "key-1")
        with pytest.raises(FullStoryNotReadyError, match="still working"):
            list(hook.iter_imports("events", job.id))


def test_quotas_are_numbers(emulator: EmulatorClient, hook: Any) -> None:
    hook.create_import("events", body(GOOD), "key-1")
    quota = hook.get_quotas().server_event_quota
    assert quota.usage == 1
    assert quota.limit > 1


@pytest.mark.parametrize(
    ("level", "expected"),
    [("standard", ("USER", False)), ("architect", ("ARCHITECT", True)), ("admin", ("ADMIN", True))],
)
def test_the_account_has_the_level_of_the_key(
    emulator: EmulatorClient,
    open_hook: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    expected: tuple[str, bool],
) -> None:
    key = getattr(emulator, f"{level}_key")
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(key))
    with open_hook() as hook:
        account = hook.get_account()
    assert (account.role, account.reads_results) == expected
    assert account.org_id


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (
            {"status": 400},
            FullStoryBadRequestError,
            "Could not identify the API key: FullStory answered HTTP 400",
        ),
        ({"status": 401}, FullStoryAuthenticationError, "check the password of the connection"),
        ({"status": 403}, FullStoryPermissionError, "takes a key of level Standard or above"),
        ({"status": 404}, FullStoryNotFoundError, "no such endpoint: check the host"),
        ({"status": 413}, FullStoryBodyTooLargeError, "max_batch_bytes"),
        ({"status": 422}, FullStoryBadRequestError, "the same request will fail again"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, FullStoryProtocolError, "redirect"),
    ],
    ids=["400", "401", "403", "404", "413", "422", "302"],
)
def test_lasting_errors_are_raised_at_once(
    emulator: EmulatorClient, hook: Any, fault: dict[str, Any], error: type[FullStoryError], words: str
) -> None:
    emulator.order_fault(path="/me", times=9, **fault)
    with pytest.raises(error, match=words) as caught:
        hook.get_account()
    assert caught.value.status_code == fault["status"]
    assert len(emulator.requests()) == 1


def test_an_unknown_job_is_named(emulator: EmulatorClient, hook: Any) -> None:
    with pytest.raises(FullStoryNotFoundError, match=r"job 'no/such='(?s:.*)No such job in this"):
        hook.get_job_status("events", "no/such=")


def test_a_key_below_architect_cannot_read_results_but_the_status(
    emulator: EmulatorClient, open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    with open_hook() as hook:
        job = hook.create_import("events", body(BAD), "key-1")
        assert hook.get_job_status("events", job.id).errors == 1
        with pytest.raises(FullStoryPermissionError) as caught:
            list(hook.iter_errors("events", job.id))
    assert caught.value.code == "forbidden"
    assert "takes a key of level Architect or above" in str(caught.value)


def test_a_host_that_does_not_answer_is_named(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unused.getsockname()[1]}"
        connection = {"conn_type": "fullstory", "host": host, "password": "k"}
        monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", json.dumps(connection))
        with open_hook(retry_for=0.05) as hook, pytest.raises(FullStoryTransportError) as caught:
            hook.get_account()
    assert f"no answer from {host}" in str(caught.value)


def test_a_host_that_is_not_fullstory_is_recognized(emulator: EmulatorClient, hook: Any) -> None:
    emulator.order_fault(path="/me", status=200, body={"hello": "world"})
    with pytest.raises(FullStoryProtocolError, match="not FullStory's"):
        hook.get_account()


def test_a_missing_connection_is_named(open_hook: Callable[..., Any]) -> None:
    with (
        pytest.raises(FullStoryInputError, match="Airflow has no connection 'nowhere'"),
        open_hook("nowhere") as hook,
    ):
        hook.get_account()


def test_proxies_of_the_environment_never_see_local_traffic(
    emulator: EmulatorClient, open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with open_hook(retry_for=0) as hook:
        assert hook.get_account().org_id


def test_credentials_of_netrc_do_not_replace_the_key(
    emulator: EmulatorClient, open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with open_hook(retry_for=0) as hook:
        assert hook.get_account().org_id


def test_errors_never_hold_the_key(emulator: EmulatorClient, hook: Any, caplog: Any) -> None:
    emulator.order_fault(path="/me", status=503)
    emulator.order_fault(path="/me", reset="before")
    emulator.order_fault(path="/me", status=401)
    with pytest.raises(FullStoryAuthenticationError) as caught:
        hook.get_account()
    assert emulator.architect_key not in str(caught.value) + repr(caught.value) + caplog.text
