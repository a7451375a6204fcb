from __future__ import annotations

import pytest

LONGEST = "x" * 8192
FIVE_HUNDRED = {f"p{number}": number for number in range(500)}

KEPT_AND_DROPPED = {
    "the longest text": ({"a": LONGEST}, {"a": LONGEST}),
    "text that is too long": ({"a": LONGEST + "x", "b": 1}, {"b": 1}),
    "text whose JSON is longer than it is": ({"a": '"' * 8192}, {"a": '"' * 8192}),
    "text whose UTF-8 is longer than it is": ({"a": "é" * 4097, "b": "é" * 4096}, {"b": "é" * 4096}),
    "the largest array": ({"a": ["x" * 8188]}, {"a": ["x" * 8188]}),
    "an array that is too large": ({"a": ["x" * 8189], "b": 1}, {"b": 1}),
    "an object that is large in sum": ({"a": {"b": LONGEST, "c": LONGEST}},) * 2,
    "a large value in an object": ({"a": {"b": LONGEST + "x", "c": {"d": 1}}}, {"a": {"c": {"d": 1}}}),
    "an object of which nothing is left": ({"a": {"b": LONGEST + "x"}, "c": 1}, {"c": 1}),
    "500 properties": (FIVE_HUNDRED,) * 2,
    "more than 500 properties": (FIVE_HUNDRED | {"p500": 1, "p501": 1}, FIVE_HUNDRED),
    "more than 500 in objects": ({"a": FIVE_HUNDRED, "b": {"c": 1}, "d": 1}, {"a": FIVE_HUNDRED}),
    "dropped ones do not count": ({"a b": 1, "c": LONGEST + "x"} | FIVE_HUNDRED, FIVE_HUNDRED),
    "a name with a blank": ({"a b": 1, "c": 1}, {"c": 1}),
    "a name that starts with a digit": ({"1a": 1, "c": 1}, {"c": 1}),
    "a name with a dot": ({"a.b": 1, "c": 1}, {"c": 1}),
    "a bad name in an object": ({"a": {"b-c": 1, "d": 1}}, {"a": {"d": 1}}),
    "a bad name of an object": ({"a b": {"c": [[1]]}, "d": 1}, {"d": 1}),
    "a name of 512 characters with its parents": ({"a" * 255: {"b" * 256: 1}},) * 2,
    "a name too long with its parents": ({"a" * 255: {"b" * 257: 1, "c": 1}}, {"a" * 255: {"c": 1}}),
}


@pytest.mark.parametrize(("sent", "kept"), KEPT_AND_DROPPED.values(), ids=KEPT_AND_DROPPED)
def test_a_user_is_imported_without_the_properties_that_fullstory_does_not_take(
    api, fullstory_emulator, sent, kept
):
    path = api.import_users({"uid": "u", "properties": sent})
    status = api.get(path).json()
    assert (status["imports"], status.get("errors", 0), status["job"]["status"]) == (1, 0, "COMPLETED")
    (imported,) = api.get(path + "/imports").json()["results"]
    (user,) = fullstory_emulator.users()
    assert imported["properties"] == kept
    assert user["user"]["properties"] == kept
    assert list(imported["properties"]) == list(kept)


def test_numbers_of_users_keep_their_digits(api):
    created = api.post("/v2/users", b'{"uid": "u", "properties": {"a": 1.50, "b": {"c": 1e2}}}').json()
    assert '"a":1.50' in api.get(f"/v2/users/{created['id']}").text.replace(" ", "")
    assert '"c":1e2' in api.get(f"/v2/users/{created['id']}").text


def test_what_is_left_of_a_user_is_checked(api):
    path = api.import_users(
        {"uid": "a", "properties": {"a b": 1, "c": [[1]]}},
        {"uid": "b", "properties": {"a b": 1, "c": "x"}, "schema": {"properties": {"c": "int"}}},
        {"uid": "c", "properties": {"a": LONGEST + "x"}, "schema": {"properties": {"a": "int"}}},
    )
    assert [error["user"]["uid"] for error in api.get(path + "/errors").json()["results"]] == ["a", "b"]


@pytest.mark.parametrize("properties", [{"a b": 1}, {"a": {"b-c": 1}}])
def test_an_event_is_rejected_for_the_name_of_a_property(api, properties):
    path = api.import_events({"name": "A", "properties": properties})
    assert api.get(path).json()["errors"] == 1


@pytest.mark.parametrize("properties", [{"a": LONGEST + "x"}, FIVE_HUNDRED | {"p500": 1}])
def test_an_event_has_no_limits_of_size_and_number(api, fullstory_emulator, properties):
    api.import_events({"name": "A", "properties": properties})
    (line,) = fullstory_emulator.events()
    assert line["event"]["properties"] == properties
