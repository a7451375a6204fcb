from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
import requests

BATCH = {"requests": [{"name": "A"}]}


def test_a_status_with_headers_and_body(api, fullstory_emulator):
    fullstory_emulator.order_fault(
        method="POST",
        path="/v2/*/batch",
        after=1,
        times=2,
        status=503,
        headers={"Retry-After": "1"},
        body={"message": "busy", "code": "server_error"},
    )
    answers = [api.post("/v2/events/batch", BATCH) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "1"
    assert answers[1].json() == {"message": "busy", "code": "server_error"}
    assert len(fullstory_emulator.events()) == 2
    assert fullstory_emulator.faults() == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "too_many_requests"), (500, "server_error"), (403, "forbidden"), (599, "server_error")],
)
def test_a_status_has_a_fitting_body_by_default(api, fullstory_emulator, status, code):
    fullstory_emulator.order_fault(path="/me", status=status)
    answer = api.get("/me")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("pattern", ["*/errors", "/v2/events/batch/*/errors"])
def test_results_that_are_not_there_yet(api, fullstory_emulator, pattern):
    fullstory_emulator.configure(processing_seconds=10)
    paths = [api.import_events({"name": ""}) for _ in range(2)]
    not_yet = api.get(paths[0] + "/errors")
    fullstory_emulator.advance_clock(10)

    fullstory_emulator.order_fault(method="GET", path=pattern, status=202, times=2)
    assert [api.get(path).status_code for path in paths] == [200, 200]
    assert api.get(paths[0] + "/imports").status_code == 200
    for path in paths:
        answer = api.get(path + "/errors")
        assert (answer.status_code, answer.content) == (202, not_yet.content)
        assert answer.headers["Content-Type"] == not_yet.headers["Content-Type"]
    assert [api.get(path + "/errors").status_code for path in paths] == [200, 200]
    assert fullstory_emulator.faults() == []


def test_other_requests_go_well(api, fullstory_emulator):
    fullstory_emulator.order_fault(method="POST", path="/v2/users/batch", status=500)
    assert api.get("/me").status_code == 200
    assert api.post("/v2/events/batch", BATCH).status_code == 200
    assert len(fullstory_emulator.faults()) == 1


@pytest.mark.parametrize(("reset", "imported"), [("before", 0), ("after", 1)])
def test_a_connection_is_reset_before_or_after_the_work(api, fullstory_emulator, reset, imported):
    fullstory_emulator.order_fault(reset=reset)
    with pytest.raises(requests.ConnectionError):
        api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    assert len(fullstory_emulator.events()) == imported
    assert fullstory_emulator.requests()[0]["status"] is None

    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 200
    assert len(fullstory_emulator.events()) == 1
    assert fullstory_emulator.requests()[1]["replayed"] is (reset == "after")


def test_a_reset_hits_a_replayed_answer_too(api, fullstory_emulator):
    fullstory_emulator.order_fault(reset="after", times=2)
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 200
    assert len(fullstory_emulator.events()) == 1


def test_a_gateway_may_lose_the_answer_to_work_that_was_done(api, fullstory_emulator):
    fullstory_emulator.order_fault(status=502, work_done=True)
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 502
    assert len(fullstory_emulator.events()) == 1
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 200
    assert len(fullstory_emulator.events()) == 1


def test_a_delay_makes_a_client_give_up_while_the_work_goes_on(api, fullstory_emulator, eventually):
    fullstory_emulator.order_fault(path="/v2/events/batch", delay_seconds=0.2)
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            api.url + "/v2/events/batch",
            json=BATCH,
            headers={"Authorization": f"Basic {api.key}"},
            timeout=0.05,
        )
    eventually(fullstory_emulator.events)
    assert len(fullstory_emulator.events()) == 1


def test_faults_queue_up_in_order(api, fullstory_emulator):
    fullstory_emulator.order_fault(path="/me", status=500)
    fullstory_emulator.order_fault(path="/me", status=429, times=2)
    assert [api.get("/me").status_code for _ in range(4)] == [500, 429, 429, 200]


def test_faults_can_be_listed_and_cancelled(api, fullstory_emulator):
    fullstory_emulator.order_fault(path="/me", status=500, times=5, body={"a": 1})
    fullstory_emulator.order_fault(reset="before", method="POST")
    api.get("/me")
    assert fullstory_emulator.faults() == [
        {"path": "/me", "times": 4, "status": 500, "body": {"a": 1}},
        {"method": "POST", "reset": "before"},
    ]
    fullstory_emulator.forget_faults()
    assert api.get("/me").status_code == 200


@pytest.mark.parametrize("fault", [{"statuss": 500}, {"status": 42}, {"reset": "now"}, {"times": 0}])
def test_a_fault_that_cannot_be_meant_is_rejected(fullstory_emulator, fault):
    with pytest.raises(ValueError, match=r"\w"):
        fullstory_emulator.order_fault(**fault)


def test_an_upload_that_breaks_off_imports_nothing(api, fullstory_emulator, eventually, caplog):
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            b"POST /v2/events/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"Authorization: Basic " + api.key.encode() + b'\r\n\r\n{"requests": ['
        )
        eventually(fullstory_emulator.requests)
    assert api.get("/me").status_code == 200
    assert fullstory_emulator.requests()[0]["status"] is None
    assert fullstory_emulator.events() == []
    assert caplog.records == []


def test_a_reset_hits_a_rejected_request_too(api, fullstory_emulator):
    fullstory_emulator.order_fault(path="/v2/events/batch/*", reset="after")
    with pytest.raises(requests.ConnectionError):
        api.get("/v2/events/batch/unknown")
    assert api.get("/v2/events/batch/unknown").status_code == 404
