from __future__ import annotations

import pytest


def test_users_are_upserted(api, fullstory_emulator):
    api.import_users(
        {"uid": "u1", "display_name": "Ann", "properties": {"plan": "free", "visits": 1}},
        {
            "uid": "u1",
            "email": "ann@example.com",
            "properties": {"plan": "paid"},
            "schema": {"properties": {}},
        },
    )
    (user,) = fullstory_emulator.users()
    assert user["user"]["display_name"] == "Ann"
    assert user["user"]["email"] == "ann@example.com"
    assert user["user"]["properties"] == {"plan": "paid", "visits": 1}
    assert user["user"]["uid"] == "u1"


def test_properties_inside_an_object_are_merged_one_by_one(api, fullstory_emulator):
    address = {"city": "Atlanta", "zip": "30303", "geo": {"lat": 33.74, "lng": -84.38}}
    api.import_users({"uid": "u1", "properties": {"address": address, "of": {"a": 1}, "b": 1}})
    changed = {"address": {"city": "Berlin", "geo": {"lat": 52.52}}, "of": "nothing", "b": {"c": 2}}
    api.import_users({"uid": "u1", "properties": changed})
    (user,) = fullstory_emulator.users()
    assert user["user"]["properties"] == {
        "address": {"city": "Berlin", "zip": "30303", "geo": {"lat": 52.52, "lng": -84.38}},
        "of": "nothing",
        "b": {"c": 2},
    }


def test_a_user_is_found_by_the_id_that_creating_it_gave(api, fullstory_emulator):
    user_id = api.post("/v2/users", {"uid": "u1"}).json()["id"]
    assert api.post("/v2/users", {"uid": "u1"}).json()["id"] == user_id
    path = api.import_users({"id": user_id, "email": "a@example.com"})
    (imported,) = api.get(path + "/imports?include_schema=true").json()["results"]
    assert imported["id"] == user_id
    assert imported["schema"] == {"properties": {}}
    assert [line["id"] for line in fullstory_emulator.users()] == [user_id]


def test_users_without_uid_are_new_each_time(api, fullstory_emulator):
    api.import_users({"display_name": "A"}, {"display_name": "B"})
    assert api.post("/v2/users", {}).json()["id"]
    assert len(fullstory_emulator.users()) == 3


def test_an_anonymous_user_gets_a_uid_once(api, fullstory_emulator):
    user_id = api.post("/v2/users", {}).json()["id"]
    path = api.import_users({"id": user_id, "uid": "a"}, {"id": user_id, "uid": "b"})
    status = api.get(path).json()
    assert (status["imports"], status["errors"]) == (1, 1)
    (user,) = fullstory_emulator.users()
    assert user["user"]["uid"] == "a"


def test_a_user_that_got_its_uid_later_keeps_its_id(api):
    user_id = api.post("/v2/users", {}).json()["id"]
    api.post(f"/v2/users/{user_id}", {"uid": "a"})
    assert api.post("/v2/users", {"uid": "a"}).json()["id"] == user_id
    path = api.import_users({"uid": "a"})
    (imported,) = api.get(path + "/imports").json()["results"]
    assert imported["id"] == user_id


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"small": "x", "large": "x" * 8193}, {"small": "x"}),
        ({"small": "x" * 8192, "quotes": '"' * 8192}, {"small": "x" * 8192, "quotes": '"' * 8192}),
        ({"small": "\U0001f600" * 2048, "large": "\U0001f600" * 2049}, {"small": "\U0001f600" * 2048}),
        ({"small": ["x"], "large": ["x" * 8190]}, {"small": ["x"]}),
        ({"of": {"small": "x" * 8000, "other": "y" * 8000, "large": "z" * 8193}},
         {"of": {"small": "x" * 8000, "other": "y" * 8000}}),
        ({"small": 1, "of": {"large": "x" * 8193}}, {"small": 1}),
    ],
    ids=["text", "what text holds", "bytes", "array", "inside an object", "all of an object"],
)  # fmt: skip
def test_properties_that_are_too_large_are_left_out(api, fullstory_emulator, sent, kept):
    path = api.import_users({"uid": "u", "properties": sent})
    (imported,) = api.get(path + "/imports").json()["results"]
    assert imported["properties"] == kept
    (user,) = fullstory_emulator.users()
    assert user["user"]["properties"] == kept


@pytest.mark.parametrize(
    ("user", "code"),
    [
        ({"uid": ""}, "invalid_parameter"),
        ({"uid": "u" * 257}, "invalid_argument"),
        ({"uid": 5}, "invalid_argument"),
        ({"email": "e" * 129}, "invalid_argument"),
        ({"display_name": "d" * 257}, "invalid_argument"),
        ({"displayName": "d"}, "invalid_argument"),
        ({"id": "404"}, "user_not_found"),
        ({"properties": {"a": [{"b": 1}]}}, "invalid_argument"),
        ({"properties": ["a"]}, "invalid_argument"),
        ({"properties": {"a": "x"}, "schema": {"properties": {"a": "int"}}}, "invalid_argument"),
    ],
)
def test_a_user_is_rejected(api, fullstory_emulator, user, code):
    path = api.import_users({"uid": "good", "properties": {f"p{number}": 1 for number in range(500)}}, user)
    (rejected,) = api.get(path + "/errors").json()["results"]
    assert (rejected["code"], rejected["user"]) == (code, user)
    assert api.get(path).json()["imports"] == 1
    assert len(fullstory_emulator.users()) == 1


def test_a_single_user_is_rejected_at_once_and_nothing_is_kept(api, fullstory_emulator):
    for body in ({"uid": ""}, {"id": "1"}, b"5"):
        assert api.post("/v2/users", body).status_code == 400
    assert fullstory_emulator.users() == []


def test_jobs_of_users_are_not_jobs_of_events(api):
    path = api.import_users({"uid": "u"})
    assert api.get(path.replace("users", "events")).status_code == 404


def test_users_are_no_events(api, fullstory_emulator):
    api.import_users({"uid": "u"})
    assert fullstory_emulator.events() == []
    assert api.get("/v2/organization/quotas").json()["server_event_quota"]["usage"] == "0"
