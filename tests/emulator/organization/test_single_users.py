from __future__ import annotations

import pytest

ANN = {
    "uid": "ann",
    "display_name": "Ann",
    "email": "ann@example.com",
    "properties": {"plan": "paid", "address": {"city": "Atlanta"}},
}


@pytest.fixture
def ann(api):
    return f"/v2/users/{api.post('/v2/users', ANN).json()['id']}"


def listed(api, query=""):
    return [user.get("uid") for user in api.get(f"/v2/users{query}").json()["results"]]


def test_a_user_is_read(api, ann):
    user = api.get(ann).json()
    assert user.pop("app_url").endswith(user["id"])
    assert ann.endswith(user.pop("id"))
    assert user == {**ANN, "is_being_deleted": False, "schema": None, "type_conflicts": None}


def test_the_schema_of_a_user_is_read_if_asked_for(api, ann):
    api.post(ann, {"properties": {"visits": 1}, "schema": {"properties": {"visits": "int"}}})
    schema = api.get(ann + "?include_schema=true").json()["schema"]
    assert schema == {"properties": {"plan": "str", "address.city": "str", "visits": "int"}}
    assert api.get(ann + "?include_schema=yes").status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_user_that_does_not_exist_is_not_found(api, method):
    answer = api.call(method, "/v2/users/404", {"email": "x"} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (404, "resource_not_found")


def test_an_update_is_merged_and_not_remembered_by_a_key(api, ann):
    for city in ("Berlin", "Bonn", "Berlin"):
        answer = api.post(ann, {"properties": {"city": city}}, Idempotency_Key="k")
        assert answer.json() == {"id": ann.rpartition("/")[2]}
        assert api.get(ann).json()["properties"] == ANN["properties"] | {"city": city}
    assert api.get(ann).json()["email"] == "ann@example.com"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"uid": "other"}, "invalid_argument"),
        ({"uid": ""}, "invalid_parameter"),
        ({"id": "1"}, "invalid_argument"),
        ({"email": "e" * 129}, "invalid_argument"),
        (b"[]", "invalid_argument"),
    ],
)
def test_an_update_that_breaks_a_rule_changes_nothing(api, ann, body, code):
    answer = api.post(ann, body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert api.get(ann).json()["email"] == "ann@example.com"


def test_no_two_users_have_the_same_uid(api, ann):
    anonymous = api.post("/v2/users", {}).json()["id"]
    answer = api.post(f"/v2/users/{anonymous}", {"uid": "ann"})
    assert (answer.status_code, answer.json()["message"]) == (400, "another user has this uid")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?uid=ann", ["ann"]),
        ("?email=shared%40example.com", ["bob", "cid"]),
        ("?email=shared%40example.com&display_name=Bob", ["bob"]),
        ("?display_name=bob", []),
        ("?is_identified=false", [None]),
        ("?is_identified=true", ["ann", "bob", "cid"]),
        ("?uid=ann&is_identified=false", []),
        ("", ["ann", "bob", "cid", None]),
    ],
)
def test_users_are_listed_by_what_they_fit(api, ann, query, found):
    api.import_users(
        {"uid": "bob", "email": "shared@example.com", "display_name": "Bob"},
        {"uid": "cid", "email": "shared@example.com"},
        {"display_name": "Nobody"},
    )
    assert sorted(listed(api, query), key=str) == sorted(found, key=str)
    assert api.get(f"/v2/users{query}").json()["total_records"] == str(len(found))


def test_users_come_in_pages(api, fullstory_emulator):
    fullstory_emulator.configure(page_size=2)
    api.import_users(*({"uid": f"u{number}", "email": "e"} for number in range(5)), {"uid": "other"})
    pages = [api.get("/v2/users?email=e").json()]
    while token := pages[-1].get("next_page_token"):
        pages.append(api.get(f"/v2/users?email=e&page_token={token.replace('=', '%3D')}").json())
    assert [len(page["results"]) for page in pages] == [2, 2, 1]
    assert {page["total_records"] for page in pages} == {"5"}
    assert all(page["app_url"] for page in pages)
    assert sorted(user["uid"] for page in pages for user in page["results"]) == ["u0", "u1", "u2", "u3", "u4"]


@pytest.mark.parametrize("query", ["page_token=x", "is_identified=1", "include_schema=1"])
def test_a_list_with_a_bad_parameter_is_refused(api, query):
    assert api.get(f"/v2/users?{query}").status_code == 400


@pytest.mark.parametrize("path", [None, "/v2/users?uid=ann"])
def test_a_deleted_user_is_gone(api, fullstory_emulator, ann, path):
    api.import_users({"uid": "bob"})
    answer = api.call("DELETE", path or ann)
    assert (answer.status_code, answer.json()) == (200, {})
    assert api.get(ann).status_code == 404
    assert listed(api) == ["bob"]
    assert [line["user"]["uid"] for line in fullstory_emulator.users()] == ["bob"]
    assert api.call("DELETE", path or ann).status_code == 404


def test_a_deletion_takes_as_long_as_a_batch(api, fullstory_emulator, ann):
    fullstory_emulator.configure(processing_seconds=10)
    api.call("DELETE", ann)
    fullstory_emulator.advance_clock(9)
    assert api.get(ann).json()["is_being_deleted"]
    assert [line["is_being_deleted"] for line in fullstory_emulator.users()] == [True]
    assert api.post(ann, {"email": "x"}).status_code == 404
    assert api.call("DELETE", ann).status_code == 200
    fullstory_emulator.advance_clock(1)
    assert api.get(ann).status_code == 404


def test_a_user_that_is_sent_after_its_deletion_is_a_new_one(api, fullstory_emulator, ann):
    fullstory_emulator.configure(processing_seconds=10)
    api.call("DELETE", ann)
    api.post("/v2/users", {"uid": "ann", "display_name": "Anna"})
    fullstory_emulator.advance_clock(20)
    (user,) = api.get("/v2/users?uid=ann").json()["results"]
    assert (user["display_name"], user.get("email"), user["properties"]) == ("Anna", None, {})


def test_a_deletion_says_whom(api, ann):
    answer = api.call("DELETE", "/v2/users")
    assert (answer.status_code, answer.json()["code"]) == (400, "required_field")


@pytest.mark.parametrize("level", ["standard", "architect", "admin"])
def test_users_are_written_with_any_key_and_read_and_deleted_with_one_of_an_architect(api, ann, level):
    api.key = f"na1.emulator/{level}"
    assert api.post("/v2/users", {"uid": "bob"}).status_code == 200
    assert api.post(ann, {"email": "x"}).status_code == 200
    expected = 403 if level == "standard" else 200
    for method, path in [
        ("GET", ann),
        ("GET", "/v2/users"),
        ("DELETE", "/v2/users?uid=bob"),
        ("DELETE", ann),
    ]:
        assert api.call(method, path).status_code == expected
