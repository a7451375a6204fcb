from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

DAY = 24 * 60 * 60
BATCH = {"requests": [{"name": "A"}]}


def test_the_same_key_and_body_get_the_same_answer(api, fullstory_emulator):
    first = api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    fullstory_emulator.advance_clock(DAY - 60)
    second = api.post("/v2/events/batch", BATCH, Idempotency_Key="k")

    assert second.json() == first.json()
    assert len(fullstory_emulator.jobs()) == 1
    assert len(fullstory_emulator.events()) == 1
    assert [request["replayed"] for request in fullstory_emulator.requests()] == [False, True]
    assert [request["records"] for request in fullstory_emulator.requests()] == [1, 1]


def test_a_key_is_forgotten_after_a_day(api, fullstory_emulator):
    api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    fullstory_emulator.advance_clock(DAY)
    api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    assert len(fullstory_emulator.jobs()) == 2


def test_without_a_key_every_request_counts(api, fullstory_emulator):
    for _ in range(2):
        api.post("/v2/events/batch", BATCH)
    assert len(fullstory_emulator.events()) == 2


def test_a_key_with_another_body_is_rejected(api, fullstory_emulator):
    api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    other = api.post("/v2/events/batch", {"requests": [{"name": "B"}]}, Idempotency_Key="k")
    assert other.status_code == 400
    assert "Idempotency-Key" in other.json()["message"]
    assert len(fullstory_emulator.events()) == 1


def test_keys_belong_to_an_endpoint_and_not_to_an_api_key(api, fullstory_emulator):
    api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
    assert api.post("/v2/events", {"name": "A"}, Idempotency_Key="k").status_code == 200
    api.key = fullstory_emulator.standard_key
    api.post("/v2beta/events/batch", BATCH, Idempotency_Key="k")
    assert len(fullstory_emulator.jobs()) == 1


def test_a_rejected_request_is_remembered(api, fullstory_emulator):
    for _ in range(2):
        assert api.post("/v2/events/batch", b"{}", Idempotency_Key="k").status_code == 400
    assert [request["replayed"] for request in fullstory_emulator.requests()] == [False, True]


@pytest.mark.parametrize("status", [401, 403, 408, 409, 413, 429, 500, 503])
def test_what_can_be_retried_is_not_remembered(api, fullstory_emulator, status):
    fullstory_emulator.order_fault(status=status)
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == status
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 200
    assert len(fullstory_emulator.events()) == 1


def test_server_errors_are_remembered_when_asked_for(api, fullstory_emulator):
    fullstory_emulator.configure(replay_server_errors=True)
    fullstory_emulator.order_fault(status=500)
    for _ in range(2):
        assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 500
    fullstory_emulator.advance_clock(DAY)
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 200


def test_a_full_organization_is_not_remembered(api, fullstory_emulator):
    fullstory_emulator.configure(max_unfinished_batches=0)
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 429
    fullstory_emulator.configure(max_unfinished_batches=200)
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 200


def test_a_key_that_is_being_executed_conflicts(api, fullstory_emulator, eventually):
    fullstory_emulator.order_fault(path="/v2/events/batch", delay_seconds=60)
    with ThreadPoolExecutor() as executor:
        slow = executor.submit(api.post, "/v2/events/batch", BATCH, Idempotency_Key="k")
        # The fault is used up once the slow request has been accepted for execution.
        eventually(lambda: not fullstory_emulator.faults())
        conflict = api.post("/v2/events/batch", BATCH, Idempotency_Key="k")
        other_key = api.post("/v2/events/batch", BATCH, Idempotency_Key="other")
        fullstory_emulator.forget_faults()
        with pytest.raises(OSError, match="Connection aborted"):
            slow.result()

    assert (conflict.status_code, conflict.json()["code"]) == (409, "conflict")
    assert other_key.status_code == 200
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k").status_code == 200
    assert len(fullstory_emulator.events()) == 2


def test_a_key_that_is_too_long_is_rejected(api):
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k" * 255).status_code == 200
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key="k" * 256).status_code == 400


@pytest.mark.parametrize("key", ["\xe9", "a\tb"])
def test_a_key_that_is_no_visible_ascii_is_rejected(api, fullstory_emulator, key):
    assert api.post("/v2/events/batch", BATCH, Idempotency_Key=key).status_code == 400
    assert fullstory_emulator.jobs() == []
