from __future__ import annotations

import itertools

import pytest
import requests


def order(number, **fields):
    return {"name": "Order Completed", "user": {"uid": "u1"}, "properties": {"order_id": number}, **fields}


def rejected_by(api, path):
    return api.get(path + "/errors").json()["results"]


def test_records_with_given_values_are_rejected(api, fullstory_emulator):
    fullstory_emulator.order_rejection(
        "properties.order_id", [3, 17], code="user_not_found", message="there is no such user"
    )
    path = api.import_events(*map(order, range(20)))

    status = api.get(path).json()
    assert (status["job"]["status"], status["imports"], status["errors"]) == ("FAILED", 18, 2)
    assert rejected_by(api, path) == [
        {"message": "there is no such user", "code": "user_not_found", "event": order(number)}
        for number in (3, 17)
    ]
    imported = [line["event"]["properties"]["order_id"] for line in fullstory_emulator.events()]
    assert imported == [number for number in range(20) if number not in {3, 17}]
    assert api.get(path + "/imports").json()["total_records"] == "18"
    assert fullstory_emulator.jobs()[0]["errors"] == 2


def test_without_values_all_that_have_the_path_are_rejected(api, fullstory_emulator):
    fullstory_emulator.order_rejection("properties.coupon")
    path = api.import_events(
        order(1),
        order(2, properties={"coupon": "x"}),
        order(3, properties={"coupon": None}),
        order(4, properties={"coupon_code": "x"}),
        order(5, properties=None),
        order(6, properties={"nested": {"coupon": 1}}),
    )
    rejected = rejected_by(api, path)
    assert [item["event"]["properties"] for item in rejected] == [{"coupon": "x"}, {"coupon": None}]
    assert {(item["code"], bool(item["message"])) for item in rejected} == {("invalid_argument", True)}


@pytest.mark.parametrize(
    ("wanted", "value", "equal"),
    [
        (1, 1.0, True),
        (1.0, 1, True),
        (1, True, False),
        (True, 1, False),
        (False, False, True),
        (0, False, False),
        (1, "1", False),
        ("ü", "\u00fc", True),
        (None, None, True),
        (None, 0, False),
        (2**70, 2**70, True),
        (2**53, 2**53 + 1, False),
        ([1, "a"], [1.0, "a"], True),
        ([1], [True], False),
        ([1, 2], [2, 1], False),
        ([], {}, False),
        ({"a": 1, "b": [True]}, {"b": [True], "a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1, "b": None}, False),
    ],
)
def test_values_are_compared_as_json(api, fullstory_emulator, wanted, value, equal):
    fullstory_emulator.order_rejection("context.location", ["elsewhere"])
    fullstory_emulator.order_rejection("properties.a", ["something else", wanted])
    path = api.import_events(order(1, properties={"a": value}))
    assert api.get(path).json().get("errors", 0) == equal


def test_the_first_order_that_matches_counts(api, fullstory_emulator):
    fullstory_emulator.order_rejection("properties.order_id", [2], code="first")
    fullstory_emulator.order_rejection("user.uid", ["u1"], code="second")
    fullstory_emulator.order_rejection("properties.order_id", [3], code="third")
    path = api.import_events(*map(order, range(1, 4)), order(4, user={"uid": "u2"}))
    assert [item["code"] for item in rejected_by(api, path)] == ["second", "first", "second"]


@pytest.mark.parametrize("missing", [{"code"}, {"message"}, {"code", "message"}])
def test_code_and_message_can_be_left_out(api, fullstory_emulator, missing):
    fullstory_emulator.order_rejection("name", **dict.fromkeys(missing))
    (rejected,) = rejected_by(api, api.import_events(order(1)))
    assert set(rejected) == {"code", "message", "event"} - missing


def test_what_is_shared_is_not_looked_into(api, fullstory_emulator):
    fullstory_emulator.order_rejection("user.uid", ["u2"])
    shared = {"user": {"uid": "u2"}}
    path = api.import_events({"name": "A"}, shared=shared)
    assert api.get(path).json()["imports"] == 1
    fullstory_emulator.order_rejection("name")
    (rejected,) = rejected_by(api, api.import_events({"name": "A"}, shared=shared))
    assert rejected["shared"] == shared


def test_users_are_rejected_and_not_kept(api, fullstory_emulator):
    api.import_users({"uid": "known", "email": "old@example.com"})
    fullstory_emulator.order_rejection("properties.plan", ["free"], code="server_error")
    path = api.import_users(
        {"uid": "known", "email": "new@example.com", "properties": {"plan": "free"}},
        {"uid": "new", "properties": {"plan": "free"}},
        {"uid": "paying", "properties": {"plan": "paid"}},
    )
    assert [(item["code"], item["user"]["uid"]) for item in rejected_by(api, path)] == [
        ("server_error", "known"),
        ("server_error", "new"),
    ]
    users = {line["user"]["uid"]: line["user"] for line in fullstory_emulator.users()}
    assert set(users) == {"known", "paying"}
    assert users["known"]["email"] == "old@example.com"


def test_a_record_that_breaks_a_rule_is_rejected_for_that(api, fullstory_emulator):
    for path in ("name", "id"):
        fullstory_emulator.order_rejection(path, code="ordered")
    events = api.import_events({"name": ""}, order(1))
    users = api.import_users({"id": "unknown"})
    assert [item["code"] for item in rejected_by(api, events)] == ["invalid_argument", "ordered"]
    assert [item["code"] for item in rejected_by(api, users)] == ["user_not_found"]


def test_what_is_rejected_uses_no_quota(api, fullstory_emulator):
    fullstory_emulator.configure(event_quota=2)
    fullstory_emulator.order_rejection("properties.order_id", [1, 5], code="ordered")
    path = api.import_events(*map(order, range(1, 6)))
    errors = [(item["event"]["properties"]["order_id"], item["code"]) for item in rejected_by(api, path)]
    assert errors == [(1, "ordered"), (4, "quota_exceeded"), (5, "quota_exceeded")]
    assert api.get("/v2/organization/quotas").json()["server_event_quota"]["usage"] == "2"


def test_orders_stay_until_they_are_forgotten(api, fullstory_emulator):
    fullstory_emulator.order_rejection("name")
    paths = [api.import_events(order(1)) for _ in range(2)]
    assert api.post("/v2/events", order(1)).status_code == 200  # not a batch

    fullstory_emulator.forget_rejections()
    paths.append(api.import_events(order(1)))
    assert [api.get(path).json()["imports"] for path in paths] == [0, 0, 1]

    fullstory_emulator.order_rejection("name")
    fullstory_emulator.reset()
    assert api.get(api.import_events(order(1))).json()["imports"] == 1


def test_a_replayed_answer_is_that_of_the_first_request(api, fullstory_emulator):
    first = api.post_events(order(1), Idempotency_Key="k")
    fullstory_emulator.order_rejection("name")
    assert api.post_events(order(1), Idempotency_Key="k").json() == first.json()
    assert len(fullstory_emulator.events()) == 1


def test_orders_can_be_listed(api, fullstory_emulator):
    fullstory_emulator.order_rejection("user.uid", iter([1, True]), code=None, message="no")
    fullstory_emulator.order_rejection("name")
    api.post("/_emulator/rejections", {"path": "name"})
    explicit, by_client, by_default = fullstory_emulator.rejections()
    assert explicit == {"path": "user.uid", "values": [1, True], "code": None, "message": "no"}
    assert by_client == by_default
    assert (by_default["values"], by_default["code"]) == (None, "invalid_argument")


def test_no_values_reject_nothing(api, fullstory_emulator):
    fullstory_emulator.order_rejection("name", [])
    assert api.get(api.import_events(order(1))).json()["imports"] == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "path"),
        ({"path": None}, "path"),
        ({"path": 5}, "path"),
        ({"path": ""}, "path"),
        ({"path": "properties..a"}, "path"),
        ({"path": "properties."}, "path"),
        ({"path": "a", "values": 3}, "values"),
        ({"path": "a", "value": [3]}, "value"),
        ({"path": "a", "code": 404}, "code"),
        ({"path": "a", "message": ["x"]}, "message"),
        ([], "object"),
        (b"{", "truncated"),
        (b'{"path": "\xff"}', "utf-8"),
    ],
)
def test_an_order_that_cannot_be_meant_is_rejected(api, fullstory_emulator, body, named):
    answer = api.post("/_emulator/rejections", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert named in answer.json()["message"]
    assert fullstory_emulator.rejections() == []


@pytest.mark.parametrize("page_size", [100, 50_000])
def test_50_000_rejections_of_one_job(api, fullstory_emulator, page_size):
    fullstory_emulator.configure(page_size=page_size)
    fullstory_emulator.order_rejection("properties.order_id")
    path = api.import_events(*map(order, range(50_000)))

    pages, numbers, token = itertools.count(), [], ""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Basic {api.key}"
        while token is not None:
            next(pages)
            page = session.get(f"{api.url}{path}/errors", params={"page_token": token}, timeout=30).json()
            numbers += [item["event"]["properties"]["order_id"] for item in page["results"]]
            token = page.get("next_page_token")
    assert numbers == list(range(50_000))
    assert next(pages) == 50_000 / page_size
