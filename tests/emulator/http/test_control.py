from __future__ import annotations

import hashlib
import json

import pytest


def test_requests_are_logged_without_the_key(api, fullstory_emulator):
    body = b'{"requests": [{"name": "A"}, {"name": ""}]}'
    api.post("/v2/events/batch?a=b", body, Idempotency_Key="k")
    (request,) = fullstory_emulator.requests()
    assert request.pop("time").endswith("Z")
    assert request.pop("seconds") > 0
    assert request == {
        "method": "POST",
        "path": "/v2/events/batch",
        "query": "a=b",
        "idempotency_key": "k",
        "body_bytes": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "status": 200,
        "records": 2,
        "replayed": False,
    }
    assert api.key not in json.dumps(fullstory_emulator.requests())


def test_events_are_listed_in_the_order_of_acceptance_and_by_job(api, fullstory_emulator):
    for batch in ("AB", "", "C"):
        api.post_events(*({"name": name} for name in batch or "D"))
    assert [line["event"]["name"] for line in fullstory_emulator.events()] == ["A", "B", "D", "C"]
    first = fullstory_emulator.jobs()[0]["id"]
    lines = fullstory_emulator.events(job_id=first)
    assert [(line["job_id"], line["ordinal"], line["event"]) for line in lines] == [
        (first, 0, {"name": "A"}),
        (first, 1, {"name": "B"}),
    ]
    assert fullstory_emulator.events(job_id="unknown") == []


def test_jobs_are_listed(api, fullstory_emulator):
    fullstory_emulator.configure(processing_seconds=10)
    api.post_events({"name": "A"}, {"name": ""}, Idempotency_Key="k")
    (job,) = fullstory_emulator.jobs()
    assert (job["resource"], job["status"], job["idempotency_key"]) == ("events", "PROCESSING", "k")
    assert (job["records"], job["imports"], job["errors"]) == (2, 1, 1)
    assert job["created"] == job["started"] < job["finished"]


def test_reset_forgets_everything(api, fullstory_emulator):
    before = api.get("/_emulator/clock").json()["now"]
    fullstory_emulator.configure(page_size=1, processing_seconds=5)
    fullstory_emulator.advance_clock(10**6)
    fullstory_emulator.order_fault(status=500, path="/nowhere")
    fullstory_emulator.order_rejection("properties")
    path = api.import_events({"name": "A"})
    api.import_users({"uid": "u"})
    api.post("/v2/events", {"name": "A"}, Idempotency_Key="k")
    api.post("/v2/annotations", {"text": "A"})

    fullstory_emulator.reset()

    for listed in ("events", "users", "jobs", "annotations", "requests", "faults", "rejections"):
        assert getattr(fullstory_emulator, listed)() == []
    assert before <= api.get("/_emulator/clock").json()["now"] < before.replace("T", "U")
    assert api.get("/_emulator/settings").json()["page_size"] == 100
    assert api.get(path).status_code == 404
    api.post("/v2/events", {"name": "B"}, Idempotency_Key="k")
    assert [line["event"]["name"] for line in fullstory_emulator.events()] == ["B"]


@pytest.mark.parametrize(
    "body", [{}, {"advance_seconds": -1}, {"advance_seconds": 1e300}, {"advance_seconds": "1"}, {"hours": 1}]
)
def test_the_clock_only_moves_forward(api, body):
    assert api.post("/_emulator/clock", body).status_code == 400
