from __future__ import annotations

import pytest

EVENT = {"name": "A", "user": {"uid": "u1"}}

ACCEPTED = {
    "a name alone": {"name": "A"},
    "an anonymous event": {"name": "A", "properties": {}},
    "a long uid": {"name": "A", "user": {"uid": "ü" * 256}},
    "a user id": {"name": "A", "user": {"id": "123"}},
    "a session id": {"name": "A", "session": {"id": "1:2"}},
    "a session uid": {"name": "A", "session": {"uid": "s"}},
    "the most recent session": EVENT | {"session": {"use_most_recent": True}},
    "a session that says nothing": EVENT | {"session": {"use_most_recent": False}},
    "a timestamp in UTC": EVENT | {"timestamp": "2026-02-28T23:59:59Z"},
    "a timestamp with an offset": EVENT | {"timestamp": "2026-02-28T23:59:59.123456789+05:30"},
    "properties of all kinds": EVENT
    | {
        "properties": {
            "a": "x",
            "b": 1,
            "c": 1.5,
            "d": True,
            "e": None,
            "f": ["x"],
            "g": [1, 2.5],
            "h": {"i": []},
        }
    },
    "a name of 512 characters": EVENT | {"properties": {"a" * 255: {"b" * 256: 1}}},
    "fitting types": EVENT
    | {
        "properties": {"a": "x", "b": 5.0, "c": 1, "d": False, "e": "2026-01-31", "f": {"g": [1]}, "h": None},
        "schema": {
            "properties": {
                "a": "str",
                "b": "int",
                "c": "real",
                "d": "bool",
                "e": "date",
                "f.g": "ints",
                "h": "strs",
                "missing": "dates",
            }
        },
    },
    "page properties": EVENT
    | {"page_properties": {"a": 1}, "page_properties_schema": {"properties": {"a": "int"}}},
    "a full context": EVENT
    | {
        "context": {
            "browser": {"url": "https://example.com", "user_agent": "x", "initial_referrer": "y"},
            "mobile": {"app_id": "a", "app_version": "1", "app_name": "n", "build_variant": "b"},
            "device": {"manufacturer": "m", "model": "x", "screen_width": 1, "viewport_height": 2},
            "location": {
                "country": "US",
                "region": "GA",
                "city": "Atlanta",
                "latitude": 33.7,
                "longitude": -84,
            },
        }
    },
}

REJECTED = {
    "no name": ({"user": {"uid": "u"}}, "required_field"),
    "a null name": ({"name": None}, "required_field"),
    "an empty name": ({"name": ""}, "invalid_argument"),
    "a name of another type": ({"name": 5}, "invalid_argument"),
    "an unknown field": (EVENT | {"userId": "u"}, "invalid_argument"),
    "an unknown nested field": ({"name": "A", "user": {"email": "x"}}, "invalid_argument"),
    "an empty uid": ({"name": "A", "user": {"uid": ""}}, "invalid_parameter"),
    "a uid too long": ({"name": "A", "user": {"uid": "u" * 257}}, "invalid_argument"),
    "a uid of another type": ({"name": "A", "user": {"uid": 5}}, "invalid_argument"),
    "an empty user": ({"name": "A", "user": {}}, "required_field"),
    "two identifiers": ({"name": "A", "user": {"uid": "u", "id": "1"}}, "invalid_argument"),
    "a session id and a user": (EVENT | {"session": {"id": "1:2"}}, "invalid_argument"),
    "a session uid and a user": (EVENT | {"session": {"uid": "s"}}, "invalid_argument"),
    "two sessions": ({"name": "A", "session": {"id": "1:2", "uid": "s"}}, "invalid_argument"),
    "a session uid too long": ({"name": "A", "session": {"uid": "s" * 257}}, "invalid_argument"),
    "the most recent session of nobody": (
        {"name": "A", "session": {"use_most_recent": True}},
        "required_field",
    ),
    "a flag that is a string": (EVENT | {"session": {"use_most_recent": "true"}}, "invalid_argument"),
    "a timestamp in words": (EVENT | {"timestamp": "yesterday"}, "invalid_argument"),
    "a timestamp in seconds": (EVENT | {"timestamp": 1700000000}, "invalid_argument"),
    "a timestamp without offset": (EVENT | {"timestamp": "2026-01-31T10:00:00"}, "invalid_argument"),
    "a date alone": (EVENT | {"timestamp": "2026-01-31"}, "invalid_argument"),
    "a day that does not exist": (EVENT | {"timestamp": "2026-02-30T10:00:00Z"}, "invalid_argument"),
    "properties that are a list": (EVENT | {"properties": []}, "invalid_argument"),
    "a property starting with a digit": (EVENT | {"properties": {"1a": 1}}, "invalid_argument"),
    "a property with a blank": (EVENT | {"properties": {"a b": 1}}, "invalid_argument"),
    "a property with a dot": (EVENT | {"properties": {"a.b": 1}}, "invalid_argument"),
    "an empty property name": (EVENT | {"properties": {"": 1}}, "invalid_argument"),
    "a property with an accent": (EVENT | {"properties": {"é": 1}}, "invalid_argument"),
    "a property ending in a newline": (EVENT | {"properties": {"a\n": 1}}, "invalid_argument"),
    "a nested bad name": (EVENT | {"properties": {"a": {"b-c": 1}}}, "invalid_argument"),
    "a path too long": (EVENT | {"properties": {"a" * 256: {"b" * 256: 1}}}, "invalid_argument"),
    "an array of objects": (EVENT | {"properties": {"a": [{"b": 1}]}}, "invalid_argument"),
    "an array of arrays": (EVENT | {"properties": {"a": [[1]]}}, "invalid_argument"),
    "a mixed array": (EVENT | {"properties": {"a": [1, "x"]}}, "invalid_argument"),
    "an array with null": (EVENT | {"properties": {"a": [None]}}, "invalid_argument"),
    "an unknown type": (
        EVENT | {"properties": {"a": 1}, "schema": {"properties": {"a": "number"}}},
        "invalid_argument",
    ),
    "a schema without its level": (EVENT | {"schema": {"a": "int"}}, "invalid_argument"),
    "a bad country": (EVENT | {"context": {"location": {"country": "USA"}}}, "invalid_argument"),
    "a bad latitude": (EVENT | {"context": {"location": {"latitude": 91}}}, "invalid_argument"),
    "a width beyond 32 bits": (EVENT | {"context": {"device": {"screen_width": 2**31}}}, "invalid_argument"),
    "a context of the web": (EVENT | {"context": {"web": {}}}, "invalid_argument"),
    "a bad page property": (EVENT | {"page_properties": {"a b": 1}}, "invalid_argument"),
    "a page property of another type": (
        EVENT | {"page_properties": {"a": "x"}, "page_properties_schema": {"properties": {"a": "int"}}},
        "invalid_argument",
    ),
}

MISFITS = [
    ("str", 1),
    ("strs", "x"),
    ("strs", [1]),
    ("int", 1.5),
    ("int", "1"),
    ("int", True),
    ("int", 2**63),
    ("ints", [1.5]),
    ("real", "1.5"),
    ("real", False),
    ("reals", ["x"]),
    ("bool", 1),
    ("bools", ["true"]),
    ("date", "soon"),
    ("date", 20260131),
    ("dates", ["2026-01-31", "soon"]),
]


@pytest.mark.parametrize("event", ACCEPTED.values(), ids=ACCEPTED)
def test_an_event_is_accepted(api, event):
    path = api.import_events(event)
    assert api.get(path).json()["imports"] == 1, api.get(path + "/errors").text


@pytest.mark.parametrize(("event", "code"), REJECTED.values(), ids=REJECTED)
def test_an_event_is_rejected(api, event, code):
    path = api.import_events(event)
    (rejected,) = api.get(path + "/errors").json()["results"]
    assert (rejected["code"], rejected["event"]) == (code, event)


@pytest.mark.parametrize(("declared", "value"), MISFITS)
def test_a_value_must_fit_its_declared_type(api, declared, value):
    event = EVENT | {"properties": {"a": {"b": value}}, "schema": {"properties": {"a.b": declared}}}
    path = api.import_events(event)
    (rejected,) = api.get(path + "/errors").json()["results"]
    assert rejected["code"] == "invalid_argument"
    assert "properties.a.b" in rejected["message"]


@pytest.mark.parametrize(
    ("field", "own", "shared"),
    [
        ("context", {"browser": {"url": "https://a"}}, {"mobile": {"app_id": "a"}}),
        ("user", {"uid": "a"}, {"uid": "b"}),
        ("session", {"id": "1:2"}, {"id": "1:3"}),
        ("page_properties", {"a": 1}, {"b": 1}),
        ("page_properties_schema", {"properties": {"a": "int"}}, {"properties": {"b": "int"}}),
    ],
)
def test_an_event_must_not_contradict_what_is_shared(api, field, own, shared):
    path = api.import_events({"name": "A", field: own}, {"name": "B"}, shared={field: shared})
    (rejected,) = api.get(path + "/errors").json()["results"]
    assert (rejected["code"], rejected["event"]["name"]) == ("invalid_argument", "A")
    assert rejected["shared"] == {field: shared}


def test_one_form_of_identification_counts_shared_fields_too(api):
    path = api.import_events({"name": "A", "session": {"id": "1:2"}}, shared={"user": {"uid": "u"}})
    assert api.get(path).json()["errors"] == 1
