from __future__ import annotations

import re

import pytest


def event(name="Order Completed", **fields):
    return {"name": name, "user": {"uid": "u1"}, **fields}


def test_an_import_from_acceptance_to_its_results(api, fullstory_emulator):
    fullstory_emulator.configure(processing_seconds=10)
    created = api.post_events(event("A", properties={"price": 1}), event("B"))

    job = created.json()["job"]
    assert created.status_code == 200
    assert job["status"] == "PROCESSING"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created"])
    path = "/v2/events/batch/" + job["id"].replace("/", "%2F").replace("=", "%3D").replace("+", "%2B")
    assert api.get(path).json() == {"imports": 0, "job": job}
    for results in ("/imports", "/errors"):
        answer = api.get(path + results)
        assert (answer.status_code, answer.json()) == (202, {})

    fullstory_emulator.advance_clock(10)

    status = api.get(path).json()
    assert status["imports"] == 2
    assert "errors" not in status
    assert status["job"]["status"] == "COMPLETED"
    assert status["job"]["finished"] > job["created"]
    imported = api.get(path + "/imports").json()
    assert imported["total_records"] == "2"
    assert not imported.get("next_page_token")
    first, second = imported["results"]
    assert first["name"] == "A"
    assert first["properties"] == {"price": 1}
    assert first["timestamp"] == job["created"]
    assert first["user"]["uid"] == "u1"
    assert first["user"]["id"] == second["user"]["id"]
    assert "schema" not in first
    assert api.get(path + "/errors").json() == {"results": [], "total_records": "0"}


def test_one_rejected_record_makes_the_job_failed_and_the_others_are_imported(api, fullstory_emulator):
    bad = event("", properties={"kept": 1})
    path = api.import_events(event("A"), bad, event("B"))

    status = api.get(path).json()
    assert (status["job"]["status"], status["imports"], status["errors"]) == ("FAILED", 2, 1)
    errors = api.get(path + "/errors").json()
    assert errors["total_records"] == "1"
    (rejected,) = errors["results"]
    assert rejected["event"] == bad
    assert rejected["code"] == "invalid_argument"
    assert rejected["message"]
    assert "shared" not in rejected
    assert [(line["ordinal"], line["event"]["name"]) for line in fullstory_emulator.events()] == [
        (0, "A"),
        (2, "B"),
    ]


def test_job_ids_must_be_percent_encoded(api):
    job_id = api.post_events(event()).json()["job"]["id"]
    assert "/" in job_id
    assert "=" in job_id
    assert api.get(f"/v2/events/batch/{job_id}").status_code == 404


def test_shared_fields_reach_every_event(api, fullstory_emulator):
    shared = {"user": {"uid": "shared"}, "context": {"location": {"country": "DE"}}}
    path = api.import_events({"name": "A"}, {"name": "B", "user": {"uid": "own"}}, shared=shared)

    (imported,) = api.get(path + "/imports").json()["results"]
    assert imported["user"]["uid"] == "shared"
    assert imported["context"] == shared["context"]
    (rejected,) = api.get(path + "/errors").json()["results"]
    assert rejected["shared"] == shared
    (line,) = fullstory_emulator.events()
    assert line["shared"] == shared
    assert line["event"] == {"name": "A"}


def test_numbers_stay_as_they_were_sent(api, fullstory_emulator):
    body = b'{"requests": [{"name": "A", "properties": {"a": 1.10, "b": 123456789012345678901, "c": 1E2}}]}'
    api.post("/v2/events/batch", body)

    text = api.get("/_emulator/events").text
    assert '"event":{"name": "A", "properties": {"a": 1.10, "b": 123456789012345678901, "c": 1E2}}' in text


def test_an_event_without_user_and_session_makes_an_anonymous_user(api):
    path = api.import_events({"name": "A"}, {"name": "B"})
    first, second = api.get(path + "/imports").json()["results"]
    assert set(first["user"]) == {"id"}
    assert first["user"]["id"] != second["user"]["id"]


def test_an_event_with_a_session_is_attached_to_it(api):
    path = api.import_events({"name": "A", "session": {"id": "1:2"}})
    (imported,) = api.get(path + "/imports").json()["results"]
    assert imported["session"] == {"id": "1:2"}
    assert "user" not in imported


def test_the_schema_is_declared_or_inferred(api):
    properties = {"a": 1, "b": 2, "c": "x", "d": True, "e": [1], "f": {"g": ["x"]}, "h": None}
    path = api.import_events(event(properties=properties, schema={"properties": {"a": "int"}}))
    (imported,) = api.get(path + "/imports?include_schema=true").json()["results"]
    assert imported["schema"]["properties"] == {
        "a": "int",
        "b": "real",
        "c": "str",
        "d": "bool",
        "e": "reals",
        "f.g": "strs",
    }
    assert api.get(path + "/imports?include_schema=yes").status_code == 400


@pytest.mark.parametrize(("results", "name"), [("/imports", "good"), ("/errors", "")])
def test_results_come_in_pages(api, fullstory_emulator, results, name):
    fullstory_emulator.configure(page_size=2)
    records = [event("good" if number % 2 else "", properties={"n": number}) for number in range(10)]
    path = api.import_events(*records)

    token, numbers, sizes = "", [], []
    while True:
        page = api.call("GET", f"{path}{results}?page_token={token.replace('=', '%3D')}").json()
        assert page["total_records"] == "5"
        sizes.append(len(page["results"]))
        numbers += [item.get("event", item)["properties"]["n"] for item in page["results"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert sizes == [2, 2, 1]
    assert numbers == [record["properties"]["n"] for record in records if record["name"] == name]


def test_pages_across_many_records_miss_none(api, fullstory_emulator):
    fullstory_emulator.configure(page_size=700)
    path = api.import_events(*(event("" if n % 3 == 0 else "A", properties={"n": n}) for n in range(2100)))
    for results, expected in (("/imports", 1400), ("/errors", 700)):
        token, numbers = "", []
        while token is not None:
            page = api.get(f"{path}{results}?page_token={token}").json()
            numbers += [item.get("event", item)["properties"]["n"] for item in page["results"]]
            token = page.get("next_page_token")
        assert len(numbers) == len(set(numbers)) == expected
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("results", ["/imports", "/errors"])
def test_the_total_may_be_left_out(api, fullstory_emulator, results):
    fullstory_emulator.configure(omit_total_records=True, page_size=1)
    path = api.import_events(event(), event(), event(""), event(""))
    page = api.get(path + results).json()
    assert set(page) == {"results", "next_page_token"}
    assert set(api.get(f"{path}{results}?page_token={page['next_page_token']}").json()) == {"results"}


@pytest.mark.parametrize("results", ["/imports", "/errors"])
@pytest.mark.parametrize(
    ("records", "pages"),
    [
        (5, [(2, False), (2, False), (1, True), (1, True)]),
        (2, [(2, False), (2, True), (2, True)]),
        (0, [(0, False), (0, True)]),
    ],
)
def test_the_token_of_the_last_page_may_lead_to_itself(api, fullstory_emulator, results, records, pages):
    fullstory_emulator.configure(repeat_last_page_token=True, page_size=2)
    wanted, other = ("", "A") if results == "/errors" else ("A", "")
    path = api.import_events(event(other), *[event(wanted)] * records)

    token, seen = "", []
    for _ in pages:
        page = api.call("GET", f"{path}{results}?page_token={token.replace('=', '%3D')}").json()
        seen.append((len(page["results"]), page["next_page_token"] == token))
        token = page["next_page_token"]
    assert seen == pages


def test_a_foreign_page_token_is_rejected(api):
    path = api.import_events(event())
    answer = api.get(path + "/imports?page_token=!")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_argument"),
        (b"{", "invalid_argument"),
        (b"[]", "invalid_argument"),
        (b'{"requests": [{"name": "a", "properties": {"x": NaN}}]}', "invalid_argument"),
        (b'{"requests": [{"name": "\\ud800"}]}', "invalid_argument"),
        (b'{"requests": [{"name": "\xff"}]}', "invalid_argument"),
        (b'{"requests": [{"name": "a"}]} x', "invalid_argument"),
        (b"{}", "required_field"),
        (b'{"requests": null}', "required_field"),
        (b'{"requests": []}', "required_field"),
        (b'{"requests": {}}', "invalid_argument"),
        (b'{"requests": [5]}', "invalid_argument"),
        (b'{"events": [{"name": "a"}]}', "invalid_argument"),
        (b'{"requests": [{"name": "a"}], "shared": {"uid": "u"}}', "invalid_argument"),
        (b'{"requests": [{"name": "a"}], "shared": {"user": {"uid": ""}}}', "invalid_parameter"),
    ],
)
def test_a_request_that_cannot_be_read_is_rejected_as_a_whole(api, fullstory_emulator, body, code):
    answer = api.post("/v2/events/batch", body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert set(answer.json()) == {"message", "code"}
    assert fullstory_emulator.jobs() == []


def test_null_is_the_same_as_absent(api):
    body = {"requests": [event(session=None, timestamp=None, properties=None, schema=None)], "shared": None}
    assert api.post("/v2/events/batch", body).status_code == 200


def test_compressed_bodies_are_rejected(api):
    import gzip

    body = gzip.compress(b'{"requests": [{"name": "a"}]}')
    assert api.post("/v2/events/batch", body, Content_Encoding="gzip").status_code == 400


def test_a_body_that_is_not_compressed_as_it_says_is_rejected_too(api):
    assert api.post("/v2/events/batch", b"{}", Content_Encoding="gzip").status_code == 400


def test_older_paths_still_work(api, fullstory_emulator):
    answer = api.post("/v2beta/events/batch", {"requests": [event()]})
    path = "/v2beta/events/batch/" + answer.json()["job"]["id"].replace("/", "%2F")
    assert api.get(path).json()["imports"] == 1


def test_a_single_event(api, fullstory_emulator):
    assert api.post("/v2/events", event("A")).json() == {}
    rejected = api.post("/v2/events", event(""))
    assert (rejected.status_code, rejected.json()["code"]) == (400, "invalid_argument")
    (line,) = fullstory_emulator.events()
    assert (line["job_id"], line["event"]["name"]) == (None, "A")
    assert fullstory_emulator.jobs() == []
    assert api.get("/v2/organization/quotas").json()["server_event_quota"]["usage"] == "1"


def test_a_body_that_is_nested_too_deep_is_a_bad_request(api):
    answer = api.post("/v2/events/batch", b'{"requests":[' + b"[" * 200_000)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
