from __future__ import annotations

import pytest

PATH = "/v2/annotations"
FULL = {
    "text": "Version 7 is out",
    "start_time": "2026-02-28T23:00:00Z",
    "end_time": "2026-03-01T01:00:00+01:00",
    "source": "Airflow",
}


@pytest.mark.parametrize("key", ["standard", "architect", "admin"])
def test_an_annotation_is_answered_with_all_fields_and_no_id_and_listed(api, fullstory_emulator, key):
    api.key = f"na1.emulator/{key}"
    answer = api.post(PATH, FULL)
    assert (answer.status_code, answer.json()) == (200, FULL)
    assert fullstory_emulator.annotations() == [FULL]


def test_what_is_left_out_is_the_time_of_the_request_and_empty(api, fullstory_emulator):
    before = api.get("/_emulator/clock").json()["now"]
    annotation = api.post(PATH, {"text": "Now"}).json()
    assert before <= annotation["start_time"] <= api.get("/_emulator/clock").json()["now"]
    assert annotation["end_time"] == annotation["start_time"]
    assert annotation["source"] == ""
    start = "2026-02-28T23:00:00Z"
    annotation = api.post(PATH, {"text": "Then", "start_time": start}).json()
    assert (annotation["start_time"], annotation["end_time"]) == (start, start)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": None}, "text is required"),
        ({"text": ""}, "text is required"),
        ({"text": " "}, "text is required"),
        ({"text": "x" * 201}, "length <= 200"),
        ({"text": 7}, "Expected `str | null`, got `int`"),
        ({"source": "x" * 41}, "length <= 40"),
        ({"start_time": "2026-02-28"}, "start_time must be ISO 8601 with an offset"),
        ({"start_time": "2026-02-30T00:00:00Z"}, "start_time must be ISO 8601 with an offset"),
        ({"end_time": "2026-03-01T01:00:00"}, "end_time must be ISO 8601 with an offset"),
        ({"end_time": "2026-03-01T00:00:00+01:00"}, "end_time must be after start_time"),
        ({"end_time": "2020-01-01T00:00:00Z", "start_time": None}, "end_time must be after start_time"),
        ({"color": "red"}, "unknown field `color`"),
    ],
    ids=str,
)
def test_an_annotation_that_breaks_a_rule_is_refused(api, fullstory_emulator, changes, message):
    answer = api.post(PATH, FULL | changes)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert message in answer.json()["message"]
    assert fullstory_emulator.annotations() == []


@pytest.mark.parametrize("body", [b"", b"text", b"[]", b'{"text": "\xff"}', b"[" * 100_000])
def test_a_body_that_is_no_annotation_is_refused(api, body):
    assert api.post(PATH, body).status_code == 400


def test_the_longest_texts_are_taken(api):
    longest = FULL | {"text": "ü" * 200, "source": "ü" * 40}
    assert api.post(PATH, longest).json() == longest


def test_an_idempotency_key_is_ignored(api, fullstory_emulator):
    for _ in range(2):
        assert api.post(PATH, FULL, Idempotency_Key="k").status_code == 200
    assert fullstory_emulator.annotations() == [FULL, FULL]
    assert [request["replayed"] for request in fullstory_emulator.requests()] == [False, False]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_annotations_can_be_neither_read_nor_deleted(api, method):
    api.post(PATH, FULL)
    assert api.call(method, PATH).status_code == 404


@pytest.mark.parametrize(
    ("fault", "stored"),
    [
        ({"status": 429}, 0),
        ({"status": 500}, 0),
        ({"status": 500, "work_done": True}, 1),
        ({"status": 401}, 0),
    ],
    ids=str,
)
def test_faults_apply(api, fullstory_emulator, fault, stored):
    fullstory_emulator.order_fault(method="POST", path=PATH, **fault)
    assert api.post(PATH, FULL).status_code == fault["status"]
    assert len(fullstory_emulator.annotations()) == stored
