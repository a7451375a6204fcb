from __future__ import annotations

from datetime import datetime

import pytest

from airflow_provider_fullstory.emulator.settings import Settings

EVENT = {"name": "A"}


def test_a_batch_holds_at_most_50_000_records(api, fullstory_emulator):
    rejected = api.post_events(*[EVENT] * 50_001)
    assert (rejected.status_code, rejected.json()["code"]) == (400, "invalid_argument")
    path = api.import_events(*[EVENT] * 50_000)
    assert api.get(path).json()["imports"] == 50_000
    assert fullstory_emulator.jobs()[0]["records"] == 50_000


def test_batches_above_the_concurrent_ones_wait_for_a_slot(api, fullstory_emulator):
    fullstory_emulator.configure(processing_seconds=100, concurrent_batches=2)
    for _ in range(5):
        api.import_events(EVENT)

    def waited(job, since, until):
        return round(
            (datetime.fromisoformat(job[until]) - datetime.fromisoformat(job[since])).total_seconds()
        )

    jobs = fullstory_emulator.jobs()
    assert [waited(job, "started", "finished") for job in jobs] == [100] * 5
    assert [waited(job, "created", "started") // 50 * 50 for job in jobs[:2]] == [0, 0]
    assert jobs[2]["started"] == jobs[0]["finished"]
    assert jobs[3]["started"] == jobs[1]["finished"]
    assert jobs[4]["started"] == jobs[2]["finished"]

    fullstory_emulator.advance_clock(150)
    assert [job["status"] for job in fullstory_emulator.jobs()] == ["COMPLETED"] * 2 + ["PROCESSING"] * 3


def test_too_many_unfinished_batches(api, fullstory_emulator):
    fullstory_emulator.configure(processing_seconds=100, max_unfinished_batches=2, retry_after_seconds=7)
    api.import_events(EVENT)
    api.import_users({"uid": "u"})

    rejected = api.post_events(EVENT)
    assert (rejected.status_code, rejected.json()["code"]) == (429, "too_many_requests")
    assert rejected.headers["Retry-After"] == "7"
    assert len(fullstory_emulator.events()) == 1

    fullstory_emulator.advance_clock(100)
    assert api.post_events(EVENT).status_code == 200


def test_too_many_unfinished_records(api, fullstory_emulator):
    fullstory_emulator.configure(processing_seconds=100, max_unfinished_records=5)
    api.import_events(EVENT, EVENT, EVENT)
    assert api.post_events(EVENT, EVENT, EVENT).status_code == 429
    assert api.post_events(EVENT, EVENT).status_code == 200
    assert api.post_events(EVENT).status_code == 429


def test_the_most_that_was_unfinished_at_once_is_remembered(api, fullstory_emulator):
    assert fullstory_emulator.most_unfinished() == {"batches": 0, "records": 0}
    api.import_events(*[EVENT] * 9)
    assert fullstory_emulator.most_unfinished() == {"batches": 0, "records": 0}
    fullstory_emulator.configure(processing_seconds=100)
    api.import_events(EVENT, EVENT, EVENT)
    api.import_users({"uid": "u"})
    fullstory_emulator.advance_clock(60)
    api.import_events(EVENT)
    fullstory_emulator.advance_clock(60)
    api.import_events(EVENT, EVENT)

    assert fullstory_emulator.most_unfinished() == {"batches": 3, "records": 5}


def test_batches_that_wait_for_a_slot_are_unfinished_too(api, fullstory_emulator):
    fullstory_emulator.configure(processing_seconds=100, concurrent_batches=1)
    for _ in range(4):
        api.import_events(EVENT)

    assert fullstory_emulator.most_unfinished() == {"batches": 4, "records": 4}


def test_documented_limits_are_the_defaults(api):
    settings = api.get("/_emulator/settings").json()
    assert settings["max_batch_records"] == 50_000
    assert settings["concurrent_batches"] == 100
    assert settings["max_unfinished_batches"] == 200
    assert settings["max_unfinished_records"] == 500_000
    # The emulator of these tests has a larger one.
    assert Settings().event_quota == 500_000


def test_a_body_may_be_limited_in_size(api, fullstory_emulator):
    fullstory_emulator.configure(max_body_bytes=50)
    assert api.post_events({"name": "x" * 50}).status_code == 413
    assert api.post_events(EVENT).status_code == 200


def test_events_above_the_quota_are_rejected_one_by_one(api, fullstory_emulator):
    fullstory_emulator.configure(event_quota=3)
    api.import_events(EVENT)
    path = api.import_events({"name": ""}, EVENT, EVENT, EVENT)

    assert api.get(path).json()["imports"] == 2
    codes = [item["code"] for item in api.get(path + "/errors").json()["results"]]
    assert codes == ["invalid_argument", "quota_exceeded"]
    quota = api.get("/v2/organization/quotas").json()["server_event_quota"]
    assert (quota["usage"], quota["limit"]) == ("3", "3")
    assert api.post("/v2/events", EVENT).json()["code"] == "quota_exceeded"

    fullstory_emulator.advance_clock(31 * 24 * 60 * 60)
    following = api.get("/v2/organization/quotas").json()["server_event_quota"]
    assert following["usage"] == "0"
    assert following["period_start"] == quota["period_end"]


@pytest.mark.parametrize(
    "settings",
    [
        {"unknown": 1},
        {"page_size": 0},
        {"event_quota": "many"},
        {"processing_seconds": -1},
        {"page_size": True},
        {"omit_total_records": 1},
        {"repeat_last_page_token": None},
        {"replay_server_errors": "no"},
    ],
)
def test_settings_are_checked(fullstory_emulator, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        fullstory_emulator.configure(**settings)
