"""Every field is reached in every way, and a column that fits nowhere is refused by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_fullstory.api.models import Shared, User
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.records.events import shared_part
from tests.records.sending import make_options, send_records, send_rows

USER = {"user.uid": "u"}
# Each field of the request, with what makes a complete event beside it.
FIELDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "name": ("Order Completed", USER),
    "timestamp": ("2026-07-01T12:00:00Z", USER),
    "user.uid": ("u", {}),
    "user.id": ("123", {}),
    "session.id": ("1:2", {}),
    "session.uid": ("s", {}),
    "session.use_most_recent": (True, USER),
    "context.browser.url": ("https://example.com", USER),
    "context.browser.user_agent": ("agent", USER),
    "context.browser.initial_referrer": ("https://example.org", USER),
    "context.mobile.app_id": ("id", USER),
    "context.mobile.app_version": ("1.0", USER),
    "context.mobile.app_name": ("name", USER),
    "context.mobile.build_variant": ("release", USER),
    "context.device.manufacturer": ("m", USER),
    "context.device.model": ("m", USER),
    "context.device.screen_width": (1, USER),
    "context.device.screen_height": (2, USER),
    "context.device.viewport_width": (3, USER),
    "context.device.viewport_height": (4, USER),
    "context.location.country": ("DE", USER),
    "context.location.region": ("DE-BE", USER),
    "context.location.city": ("Berlin", USER),
    "context.location.latitude": (52.5, USER),
    "context.location.longitude": (13.5, USER),
    "context.location.ip_address": ("192.0.2.1", USER),
    "properties.amount": (1.5, USER),
    "properties.address.city": ("Berlin", USER),
    "page_properties.kind": ("cart", USER),
    "schema": ({"properties": {"x": "int"}}, USER),
    "page_properties_schema": ({"properties": {"x": "int"}}, USER),
}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        place = record
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return record


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_is_reached_in_every_way_with_the_same_bytes(path: str) -> None:
    value, beside = FIELDS[path]
    flat = {path: value} | beside
    columns, row = list(flat), tuple(flat.values())
    options: dict[str, Any] = {"event_name": None if path == "name" else "Odd", "allow_anonymous": False}

    named = send_rows(columns, [row], **options)
    assert named.event == nested(({} if path == "name" else {"name": "Odd"}) | flat), (
        "the value stands where its path says"
    )
    others = {
        "upper case": send_rows([column.upper() for column in flat if "properties." not in column], [row])
        if path != "name" and not any("properties." in column for column in flat)
        else named,
        "mapping": send_rows(
            [f"c{number}" for number, _ in enumerate(columns)],
            [row],
            mapping={column: f"C{number}" for number, column in enumerate(columns)},
            **options,
        ),
        "other order": send_rows(columns[::-1], [row[::-1]], **options),
        "flat record": send_records([flat], **options),
        "nested record": send_records([nested(flat)], **options),
        "mapped record": send_records([{"source": value} | beside], mapping={path: "source"}, **options),
        "reversed record": send_records([dict(reversed(nested(flat).items()))], **options),
    }
    if path == "name":
        del others["upper case"]
    for way, sent in others.items():
        assert (way, sent.bodies) == (way, named.bodies)


@pytest.mark.parametrize("column", ["user", "session", "context", "context.device", "properties"])
def test_an_object_column_is_taken_as_a_dict_and_as_json_text(column: str) -> None:
    content = {
        "user": {"uid": "u"},
        "session": {"id": "1:2"},
        "context": {"device": {"model": "m"}, "location": {"latitude": 1.5}},
        "context.device": {"model": "m", "screen_width": 3},
        "properties": {"a": "s", "b": {"c": "d"}},
    }[column]

    sent = send_rows([column.upper(), "z"], [(content, 1), (json.dumps(content), 1), (None, 1)])

    assert not sent.refused
    assert sent.events[0] == sent.events[1]
    assert sent.events[2] == {"name": "Odd", "properties": {"z": 1}, "schema": {"properties": {"z": "int"}}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "context must be an object, not text that is no JSON"),
        ("", "context must be an object, not text that is no JSON"),
        ("\ud800", "context must be an object, not text that is no JSON"),
        ("[1]", "context must be an object, not list"),
        (5, "context must be an object, not int"),
        ({1: 2}, "context has a key of type int, not text"),
        ({"browser": {"colour": 1}}, "no field 'context.browser.colour'"),
        ("[" * 100_000, "context must be an object"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "context"),
    ],
    ids=[
        "broken",
        "empty",
        "surrogate",
        "array",
        "integer",
        "key",
        "unknown field",
        "deep array",
        "deep object",
    ],
)
def test_an_object_column_that_holds_something_else_is_refused_alone(value: Any, reason: str) -> None:
    sent = send_rows(["context", "z"], [(None, 1), (value, 1), (None, 1)])

    assert len(sent.events) == 2
    [invalid] = sent.refused
    assert invalid.position == 2
    assert reason in invalid.refusal.reason


def test_json_text_that_says_null_counts_as_null() -> None:
    assert not send_rows(["properties"], [("null",)]).refused


def test_json_text_keeps_numbers_digit_by_digit() -> None:
    sent = send_rows(["properties"], [('{"amount": 1234567890123456789.10}',)])

    assert b"1234567890123456789.10" in sent.bodies[0]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        pytest.param(["user.uidd"], {}, "did you mean 'user.uid'?); a property of that name", id="misspelt"),
        pytest.param(
            ["a.b"], {}, "no field 'a.b'; a property of that name is written 'properties.a.b'", id="dot"
        ),
        pytest.param(["user.uid.x"], {}, "FullStory's events have no field 'user.uid.x'", id="below a field"),
        pytest.param(["x y"], {}, "column 'x y': property names start with a letter", id="space"),
        pytest.param([""], {}, "column '': property names start with a letter", id="no name"),
        pytest.param(["?column?"], {}, "column '?column?': property names", id="unnamed expression"),
        pytest.param(["_x"], {}, "column '_x': property names start with a letter", id="underscore"),
        pytest.param(["é"], {}, "property names start with a letter", id="beyond ASCII"),
        pytest.param(["\ud800"], {}, r"column '\ud800': property names", id="surrogate"),
        pytest.param(["x\n"], {}, r"column 'x\n': property names", id="line break"),
        pytest.param(["properties."], {}, "column 'properties.': property names", id="nothing after the dot"),
        pytest.param(["properties.a..b"], {}, "property names start with a letter", id="two dots"),
        pytest.param(["x" * 513], {}, "property names have at most 512 characters", id="too long"),
        pytest.param(
            ["properties." + "x" * 513], {}, "at most 512 characters", id="too long below properties"
        ),
        pytest.param(["x", "x"], {}, "there are two columns 'x'", id="twice"),
        pytest.param(
            ["name", "NAME"], {"event_name": None}, "columns 'name' and 'NAME' both go to", id="folded"
        ),
        pytest.param(["x", "properties.x"], {}, "'x' and 'properties.x' both go to", id="two spellings"),
        pytest.param(
            ["properties.a", "properties.a.b"], {}, "both go to 'properties.a.b'", id="object and part"
        ),
        pytest.param(["name"], {}, "event_name is set, and column 'name' holds a name too", id="two names"),
        pytest.param(
            ["a"],
            {"mapping": {"user.uid": "b"}},
            "'user.uid' from column 'b', which the source",
            id="missing",
        ),
        pytest.param(
            ["a"],
            {"mapping": {"user.uidd": "a"}},
            "mapping has the key 'user.uidd': FullStory's",
            id="bad path",
        ),
        pytest.param(
            ["a", "user.uid"],
            {"mapping": {"user.uid": "a"}},
            "columns 'a' and 'user.uid' both go",
            id="clash",
        ),
        pytest.param(
            ["a"], {"mapping": {"user.uid": "a", "USER.UID": "a"}}, "both go to 'user.uid'", id="mapped twice"
        ),
        pytest.param(
            ["user.id"],
            {"shared": Shared(user=User(uid="u"))},
            "column 'user.id' goes to 'user', which is in shared too; FullStory refuses events",
            id="shared too",
        ),
        pytest.param(
            ["id", "id"], {"mapping": {"user.uid": "id"}}, "'id'", id="mapping names one of two equal columns"
        ),
    ],
)
def test_columns_that_fit_nowhere_are_refused_before_a_row_is_read(
    columns: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FullStoryMappingError) as caught:
        send_rows(columns, [], **options)

    text = str(caught.value)
    assert text.startswith("The query's columns do not make events:\n- ")
    assert message.replace("both go to 'x'", "both go to 'properties.x'") in text


def test_all_problems_of_the_columns_are_named_at_once() -> None:
    with pytest.raises(FullStoryMappingError) as caught:
        send_rows(["x y", "user.uidd", "z", "z"], [])

    assert str(caught.value).count("\n- ") == 3


def test_the_longest_property_name_is_sent() -> None:
    assert send_rows(["x" * 512], [("a",)]).event["properties"] == {"x" * 512: "a"}


def test_property_names_keep_their_case_and_differ_by_it() -> None:
    sent = send_rows(["Amount", "amount"], [("a", "b")])

    assert sent.event["properties"] == {"Amount": "a", "amount": "b"}


def test_mapping_takes_the_column_of_exactly_that_name() -> None:
    sent = send_rows(["A", "a"], [("big", "small")], mapping={"user.uid": "a"})

    assert sent.event == {"name": "Odd", "user": {"uid": "small"}, "properties": {"A": "big"}}


def test_one_column_may_fill_two_fields() -> None:
    sent = send_rows(["id"], [("7",)], mapping={"user.uid": "id", "properties.customer": "id"})

    assert sent.event == {"name": "Odd", "user": {"uid": "7"}, "properties": {"customer": "7"}}


@pytest.mark.parametrize(
    ("record", "options", "reason"),
    [
        ({"user.uidd": 1}, {}, "key 'user.uidd': FullStory's events have no field 'user.uidd' (did you mean"),
        ({"user": {"email": 1}}, {}, "key 'user.email': FullStory's events have no field"),
        ({"x": 1, "properties": {"x": 2}}, {}, "keys 'x' and 'properties.x' both go to 'properties.x'"),
        ({"name": "a"}, {}, "event_name is set, and key 'name' holds a name too"),
        ({1: 2}, {}, "a record has a key of type int, not text"),
        ([1], {}, "a record must be an object (dict), not list"),
        (None, {}, "a record must be an object (dict), not NoneType"),
        ("text", {}, "a record must be an object (dict), not str"),
        ({"user.uid": "u"}, {"shared": Shared(user=User(uid="u"))}, "which is in shared too"),
        ({"\ud800": 1}, {}, r"key '\ud800': property names start with a letter"),
        ({"": 1}, {}, "key '': property names start with a letter"),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:20],
)
def test_a_record_that_fits_nowhere_is_refused_alone(
    record: Any, options: dict[str, Any], reason: str
) -> None:
    sent = send_records([{"ok": "1"}, record, {"ok": "2"}], **options)

    assert [event["properties"]["ok"] for event in sent.events] == ["1", "2"]
    [invalid] = sent.refused
    assert invalid.position == 2
    assert reason in invalid.refusal.reason


def test_a_misspelt_path_in_the_mapping_is_refused_for_records_too() -> None:
    with pytest.raises(FullStoryInputError, match=r"user\.uidd"):
        send_records([{"other": 1}], mapping={"user.uidd": "customer"})


def test_an_empty_chunk_of_rows_gives_no_events() -> None:
    assert not send_rows(["x"], [], chunk_rows=1).events


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ({"name": "a"}, "shared has 'name'; events can share only user, session, context"),
        ({"user": {"uidd": "a"}}, "shared cannot be sent: key 'user.uidd': FullStory's events have no field"),
        ({"user": {"uid": 1.5}}, "shared cannot be sent: user.uid must be text, not float"),
        ({"user": {"uid": "a", "id": "b"}}, "shared cannot be sent: user.uid and user.id are both given"),
        ({"user": "a"}, "shared cannot be sent: user must be an object"),
    ],
    ids=["name", "unknown field", "value", "two users", "text"],
)
def test_what_cannot_be_shared_is_refused(shared: dict[str, Any], message: str) -> None:
    with pytest.raises(FullStoryInputError) as caught:
        shared_part(shared, make_options())

    assert message in str(caught.value)


def test_the_most_recent_session_may_be_shared_while_each_event_names_its_user() -> None:
    shared = shared_part({"session": {"use_most_recent": True}}, make_options())

    assert send_records([{"user.uid": "u"}], shared=shared).event == {"name": "Odd", "user": {"uid": "u"}}


@pytest.mark.parametrize("shared", [None, {}, {"user": None}, {"user": {}}, {"context": {"browser": {}}}])
def test_nothing_shared_leaves_no_trace_in_the_body(shared: Any) -> None:
    sent = send_records([{"x": "a"}], shared=shared_part(shared, make_options()))

    assert b"shared" not in sent.bodies[0]


def test_what_is_shared_stands_in_each_body_with_its_types() -> None:
    shared = shared_part(
        {"context": {"device": {"model": "m"}}, "page_properties": {"depth": 3}}, make_options()
    )

    [body] = send_records([{"x": "a"}], shared=shared).bodies

    assert json.loads(body)["shared"] == {
        "context": {"device": {"model": "m"}},
        "page_properties": {"depth": 3},
        "page_properties_schema": {"properties": {"depth": "int"}},
    }


UID, ID, SID, SUID, RECENT = "user.uid", "user.id", "session.id", "session.uid", "session.use_most_recent"


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ({UID: "a"}, None),
        ({ID: "a"}, None),
        ({SID: "a:1"}, None),
        ({SUID: "a"}, None),
        ({UID: "a", RECENT: True}, None),
        ({ID: "a", RECENT: True}, None),
        ({SID: "a:1", RECENT: False}, None),
        ({}, "neither a user nor a session is given"),
        ({UID: None}, "neither a user nor a session is given"),
        ({RECENT: False}, "neither a user nor a session is given"),
        ({RECENT: True}, "session.use_most_recent needs user.uid or user.id"),
        ({UID: "a", ID: "b"}, "user.uid and user.id are both given"),
        ({SID: "a:1", SUID: "b"}, "more than one of session.id, session.uid"),
        ({SID: "a:1", RECENT: True}, "more than one of session.id, session.uid"),
        ({UID: "a", SID: "b:1"}, "a user and a session's id are both given"),
        ({ID: "a", SUID: "b"}, "a user and a session's id are both given"),
    ],
    ids=str,
)
def test_an_event_has_one_identity(identity: dict[str, Any], reason: str | None) -> None:
    of_records = send_records([{"x": "a"} | identity], allow_anonymous=False)
    of_rows = send_rows(["x", *identity], [("a", *identity.values())], allow_anonymous=False)

    assert of_records == of_rows
    assert (of_records.reason if reason else "").startswith(reason or "")
    assert len(of_records.events) == (reason is None)
