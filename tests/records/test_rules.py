"""Every rule for one record is broken by an example here; what keeps to all rules is sent."""

# ruff: noqa: DTZ901 - Datetimes without an offset are among what is tested.

from __future__ import annotations

import dataclasses
import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.exceptions import FullStoryMappingError
from airflow_provider_fullstory.records import kinds, rules
from airflow_provider_fullstory.records.refusals import INVALID_ARGUMENT, INVALID_PARAMETER, REQUIRED_FIELD
from airflow_provider_fullstory.records.rules import Rule
from airflow_provider_fullstory.sources.iterables import records_of
from tests.records.sending import Sent, pattern_of, rejected_by_the_emulator, send_records, send_rows

if TYPE_CHECKING:
    from pathlib import Path

RULES = {name: rule for name, rule in (vars(rules) | vars(kinds)).items() if isinstance(rule, Rule)}
#: Stands in values only, never in the name of a field or column.
SECRET = "Zq7secret"
SECRET_NUMBER = 918273645
GOOD = {"name": "A", "user.uid": "good"}
BAD = {"name": "A", "user.uid": "bad"}
BERLIN = datetime.timezone(datetime.timedelta(hours=1))


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"a": SECRET}
    for _ in range(levels):
        value = {"a": value}
    return value


@dataclasses.dataclass
class Example:
    """
    A record that breaks a rule, and no other before it.

    :param record: The record.
    :param names: What the reason has to name.
    :param kind: What the reason has to say of the kind of value.
    :param options: What the user said.
    """

    record: dict[str, Any]
    names: str = ""
    kind: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


#: Records that can come as rows too.
EXAMPLES: dict[str, list[Example]] = {
    "NOT_A_DOCUMENT": [Example(BAD | {"x": SECRET}, "x", "not JSON", {"json_columns": ["x"]})],
    "EMPTY": [Example({"name": "A", "user.uid": ""}, "user.uid"), Example(BAD | {"name": ""}, "name")],
    "TOO_LONG": [
        Example({"name": "A", "user.uid": SECRET * 40}, "user.uid"),
        Example({"name": "A", "user.uid": 10**5000}, "user.uid"),
        Example({"name": "A", "user.uid": Decimal("1E+5000")}, "user.uid"),
        Example({"name": "A", "session.uid": SECRET * 40}, "session.uid"),
    ],
    "WRONG_FORM": [
        Example(BAD | {"context.location.country": SECRET}, "context.location.country"),
        Example({"name": "A", "session.id": SECRET}, "session.id"),
    ],
    "PADDED": [
        Example({"name": "A", field: value}, field)
        for field in ("user.uid", "user.id", "session.uid", "session.id")
        for value in (f"{SECRET} ", f" {SECRET}", f"{SECRET}:1\n", f"\t{SECRET}:1", " ")
    ],
    "SESSION_URL": [
        Example(
            {"name": "A", "session.id": f"https://app.fullstory.com/ui/O/session/{SECRET}{colon}1"}, "UserId"
        )
        for colon in (":", "%3A")
    ],
    "OUT_OF_RANGE": [
        Example(BAD | {"context.location.latitude": SECRET_NUMBER}, "context.location.latitude"),
        Example(BAD | {"context.device.screen_width": SECRET_NUMBER * 10}, "context.device.screen_width"),
    ],
    "NOT_TEXT": [
        Example(BAD | {"name": 918273645.5}, "name", "float"),
        Example(BAD | {"context.browser.url": [SECRET]}, "context.browser.url", "list"),
        Example(BAD | {"context.browser.url": SECRET.encode()}, "context.browser.url", "bytes"),
        Example({"name": "A", "user.uid": True}, "user.uid", "bool"),
    ],
    "NOT_WHOLE": [
        Example(BAD | {"context.device.screen_width": 918273645.5}, "context.device.screen_width", "float"),
        Example(BAD | {"context.device.screen_width": SECRET}, "context.device.screen_width", "str"),
        Example(BAD | {"context.device.screen_width": True}, "context.device.screen_width", "bool"),
    ],
    "NOT_A_NUMBER": [
        Example(BAD | {"context.location.latitude": SECRET}, "context.location.latitude", "str"),
        Example(BAD | {"context.location.latitude": float("nan")}, "context.location.latitude", "float"),
    ],
    "NOT_A_TRUTH": [
        Example(BAD | {"session.use_most_recent": SECRET}, "session.use_most_recent", "str"),
        Example(BAD | {"session.use_most_recent": SECRET_NUMBER}, "session.use_most_recent", "int"),
    ],
    "NOT_ISO": [Example(BAD | {"timestamp": SECRET}, "timestamp"), Example(BAD | {"timestamp": ""}, "time")],
    "EPOCH_TEXT": [
        Example(BAD | {"timestamp": text}, "timestamp", "to_timestamp")
        for text in (str(SECRET_NUMBER), f"-{SECRET_NUMBER}", f"{SECRET_NUMBER}.5", f" {SECRET_NUMBER}212 ")
    ],
    "NO_TIMESTAMP": [Example(BAD | {"timestamp": None, "x": SECRET}, "timestamp", "NULL")],
    "NOT_A_TIMESTAMP": [
        Example(BAD | {"timestamp": SECRET_NUMBER}, "timestamp", "int"),
        Example(BAD | {"timestamp": [SECRET]}, "timestamp", "list"),
    ],
    "NO_MOMENT": [Example(BAD | {"timestamp": datetime.datetime.min.replace(tzinfo=BERLIN)}, "timestamp")],
    "NAME_TOO_LONG": [Example(BAD | {"x": {"a" * 511: SECRET}}, "x.aaa")],
    "NAME_CHARACTERS": [Example(BAD | {"x": {name: SECRET}}, "x.") for name in ("a-b", "1", "", "é", "_a")],
    "BAD_NAME": [Example(BAD | {"x": {"a b": SECRET}}, "x.a b")],
    "GIVEN_TWICE": [
        Example(BAD | {"x": {"a.b": SECRET, "a": {"b": SECRET}}}, "x.a"),
        Example(BAD | {"x": {"a": SECRET, "a.b": SECRET}}, "x.a.b"),
    ],
    "KEY_NOT_TEXT": [
        Example(BAD | {"x": {SECRET_NUMBER: 1}}, "x", "int"),
        Example(BAD | {"properties": {SECRET.encode(): 1}}, "properties", "bytes"),
        Example(BAD | {"context": {None: SECRET}}, "context", "NoneType"),
    ],
    "TOO_DEEP": [Example(BAD | {"x": nested(rules.MAX_LEVELS)}, "x.a.a.a")],
    "NOT_AN_OBJECT": [
        Example({"name": "A", "user": SECRET}, "user", "text that is not JSON"),
        Example({"name": "A", "user": [SECRET]}, "user", "list"),
        Example(BAD | {"properties": SECRET_NUMBER}, "properties", "int"),
        Example(BAD | {"context": {"browser": [SECRET]}}, "context.browser", "list"),
    ],
    "NO_JSON_FORM": [
        Example(BAD | {"x": SECRET.encode()}, "x", "bytes"),
        Example(BAD | {"x": {SECRET}}, "x", "set"),
        Example(BAD | {"x": {"y": [SECRET.encode()]}}, "x.y", "bytes"),
    ],
    "NOT_FINITE": [Example(BAD | {"x": value}, "x") for value in (float("inf"), Decimal("NaN"))],
    "NO_PROPERTY_MOMENT": [Example(BAD | {"x": datetime.datetime.min.replace(tzinfo=BERLIN)}, "x")],
    "BEYOND_64_BITS": [Example(BAD | {"x": value}, "x") for value in (2**63, -(2**63) - 1, 10**5000)],
    "HALF_A_PAIR": [
        Example(BAD | {"x": f"{SECRET}\ud800"}, "x"),
        Example({"name": f"{SECRET}\udc00", "user.uid": "bad"}, "name"),
    ],
    "NESTED_ARRAY": [
        Example(BAD | {"x": [[SECRET]]}, "x", "arrays"),
        Example(BAD | {"x": [{"a": SECRET}]}, "x", "objects"),
    ],
    "MIXED_ARRAY": [
        Example(BAD | {"x": [SECRET, SECRET_NUMBER]}, "x", "numbers and text or dates"),
        Example(BAD | {"x": [True, SECRET_NUMBER]}, "x", "numbers and truth values"),
    ],
    "NOT_AS_DECLARED": [
        Example(BAD | {"x": SECRET}, "x", "int", {"schema": {"x": "int"}}),
        Example(BAD | {"x": SECRET, "schema": {"properties": {"x": "date"}}}, "x", "date"),
        Example(BAD | {"x": {"y": [SECRET]}}, "x.y", "dates", {"schema": {"x.y": "dates"}}),
    ],
    "SCHEMA_FORM": [
        Example(BAD | {"schema": {SECRET: "int"}}, "schema"),
        Example(BAD | {"schema": {"properties": {}, SECRET: 1}}, "schema"),
        Example(BAD | {"page_properties_schema": SECRET}, "page_properties_schema"),
    ],
    "SCHEMA_NAME": [Example(BAD | {"schema": {"properties": {f"{SECRET} ": "int"}}}, "schema")],
    "SCHEMA_TYPE": [Example(BAD | {"schema": {"properties": {"x": SECRET}}}, "schema")],
    "NO_NAME": [Example({"user.uid": SECRET}, "name")],
    "TWO_USERS": [Example({"name": "A", "user.uid": SECRET, "user.id": SECRET}, "user.uid")],
    "TWO_SESSIONS": [
        Example({"name": "A", "session.id": f"{SECRET}:1", "session.uid": SECRET}, "session.id"),
        Example(BAD | {"session.use_most_recent": True, "session.uid": SECRET}, "session.uid"),
    ],
    "USER_AND_SESSION": [
        Example({"name": "A", "user.uid": SECRET, "session.id": f"{SECRET}:1"}, "user"),
        Example({"name": "A", "user.id": SECRET, "session.uid": SECRET}, "user"),
    ],
    "RECENT_SESSION_OF_NOBODY": [
        Example({"name": "A", "session.use_most_recent": True, "x": SECRET}, "session.use_most_recent")
    ],
    "NO_INSERT_ID": [
        Example({"name": "A", "session.uid": SECRET}, "user.uid", options={"insert_id": ["user.uid"]})
    ],
    "ANONYMOUS": [Example({"name": "A", "x": SECRET}, "user", options={"allow_anonymous": False})],
}
#: Rules that speak through others.
SPOKEN_BY = {"NAME_TOO_LONG": "BAD_NAME", "NAME_CHARACTERS": "BAD_NAME"}
#: Rules that events cannot break; tests of users have them.
OF_USERS = {"PROPERTY_TOO_LARGE", "TOO_MANY_PROPERTIES", "GIVEN_BEFORE", "ANONYMOUS_USER"}
#: Rules that rows cannot break, each with a test of its own below.
NOT_OF_ROWS = OF_USERS | {"NOT_A_RECORD", "NOT_JSON", "UNREADABLE_JSON", "MISPLACED", "TOO_LARGE"}
CASES = [
    pytest.param(name, example, id=f"{name}-{number}")
    for name, examples in EXAMPLES.items()
    for number, example in enumerate(examples)
]


def check_refused(sent: Sent, name: str, example: Example) -> None:
    rule = RULES[SPOKEN_BY.get(name, name)]
    assert [invalid.position for invalid in sent.refused] == [2]
    [invalid] = sent.refused
    reason = invalid.refusal.reason
    assert invalid.refusal.code == rule.code
    assert pattern_of(rule).fullmatch(reason), reason
    if name in SPOKEN_BY:
        assert reason.endswith(RULES[name].says)
    assert example.names in reason
    assert example.kind in reason
    check_tells_no_value(reason)
    check_tells_no_value(str(invalid))
    check_tells_no_value(repr(invalid))
    assert [event["user"]["uid"] for event in sent.events] == ["good", "good"]


def check_tells_no_value(text: str) -> None:
    assert SECRET not in text
    assert str(SECRET_NUMBER) not in text
    assert SECRET.encode().hex() not in text


def test_every_rule_has_an_example() -> None:
    assert set(EXAMPLES) | NOT_OF_ROWS == set(RULES)
    assert not set(EXAMPLES) & NOT_OF_ROWS


def test_every_example_is_needed_to_be_of_one_rule() -> None:
    assert all(EXAMPLES.values())
    assert set(SPOKEN_BY) <= set(EXAMPLES)


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_every_rule_has_a_code_words_and_a_source(name: str, rule: Rule) -> None:
    assert rule.code in (REQUIRED_FIELD, INVALID_PARAMETER, INVALID_ARGUMENT)
    assert len(rule.says) > 10 or name == "MISPLACED"
    assert rule.source
    assert rule.source in ("this package", "RFC 8259") or rule.source.startswith("developer.fullstory.com/")


def test_every_rule_is_listed_by_one_name() -> None:
    assert len(set(map(id, RULES.values()))) == len(RULES)


@pytest.mark.parametrize(("name", "example"), CASES)
def test_a_record_that_breaks_a_rule_is_refused_alone(name: str, example: Example) -> None:
    options = {"name": None, **example.options}

    check_refused(send_records([GOOD, example.record, GOOD], **options), name, example)


@pytest.mark.parametrize(("name", "example"), CASES)
def test_a_row_that_breaks_a_rule_is_refused_alone(name: str, example: Example) -> None:
    columns = list(dict.fromkeys([*GOOD, *example.record]))
    # The others share its columns, and a NULL is no timestamp.
    good = GOOD | {"timestamp": "2026-07-01T12:00:00Z"}
    rows = [tuple(record.get(column) for column in columns) for record in (good, example.record, good)]
    options = {"name": None, **example.options}

    sent = send_rows(columns, rows, **options)

    check_refused(sent, name, example)
    # Chunks of a row each are the same.
    assert send_rows(columns, rows, chunk_rows=1, **options) == sent


@pytest.mark.parametrize(
    ("value", "kind"), [(SECRET, "str"), ([SECRET], "list"), (None, "NoneType"), (7, "int"), (b"x", "bytes")]
)
def test_what_is_no_record_is_refused_alone(value: Any, kind: str) -> None:
    sent = send_records([GOOD, value, GOOD], name=None)

    check_refused(sent, "NOT_A_RECORD", Example({}, kind=kind))


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (BAD | {"user.uuid": SECRET}, "user.uuid"),
        (BAD | {"a-b": SECRET}, "a-b"),
        (BAD | {"x" * 513: SECRET}, "xxx"),
        (BAD | {"USER.UID": SECRET}, "USER.UID"),
        (BAD | {"a": SECRET, "properties.a": SECRET}, "properties.a"),
        (BAD | {"context.browser.url.x": SECRET}, "context.browser.url.x"),
        (BAD | {"": SECRET}, "''"),
    ],
)
def test_a_key_that_goes_nowhere_refuses_its_record_alone(record: dict[str, Any], names: str) -> None:
    sent = send_records([GOOD, record, GOOD], name=None)

    check_refused(sent, "MISPLACED", Example(record, names))


@pytest.mark.parametrize(
    "columns", [["user.uuid"], ["a-b"], ["x" * 513], ["user.uid", "USER.UID"], ["a", "properties.a"], [""]]
)
def test_columns_that_go_nowhere_are_refused_before_the_first_row(columns: list[str]) -> None:
    with pytest.raises(FullStoryMappingError) as caught:
        send_rows(columns, [(SECRET,) * len(columns)])

    check_tells_no_value(str(caught.value))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("NOT_JSON", f'{{"name": "{SECRET}'),
        ("NOT_JSON", SECRET),
        ("NOT_JSON", f'{{"x": NaN, "y": "{SECRET}"}}'),
        ("UNREADABLE_JSON", "[" * 100_000 + "]" * 100_000),
        ("UNREADABLE_JSON", '{"x": 1E99999999999999999999}'),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_alone(tmp_path: Path, name: str, line: str) -> None:
    file = tmp_path / "events.jsonl"
    good = '{"name": "A", "user": {"uid": "good"}}'
    file.write_text(f"{good}\n{line}\n{good}")

    sent = send_records(records_of(f"file://{file}"), name=None)

    check_refused(sent, name, Example({}, "line 2"))


def test_a_line_that_is_no_utf8_is_refused_alone(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    good = b'{"name": "A", "user": {"uid": "good"}}\n'
    file.write_bytes(good + b'{"name": "\xff' + SECRET.encode() + b'"}\n' + good)

    sent = send_records(records_of(f"file://{file}"), name=None)

    check_refused(sent, "NOT_JSON", Example({}, "line 2"))


def test_a_record_that_alone_is_too_large_is_refused_alone() -> None:
    record = BAD | {"x": SECRET * 100}

    sent = send_records([GOOD, record, GOOD], BatchLimits(bytes=500), name=None)
    rows = [(*GOOD.values(), None), tuple(record.values()), (*GOOD.values(), None)]
    of_rows = send_rows(list(record), rows, BatchLimits(bytes=500), name=None)

    check_refused(sent, "TOO_LARGE", Example(record))
    assert of_rows == sent


@pytest.mark.parametrize(
    "record",
    [
        {"x" * 512: 1},
        {"x": {"y" * 510: 1}},
        {"properties": {"x": {"y" * 510: 1}}},
        {"properties.x." + "y" * 510: 1},
        {"x": nested(98)},
        {"x": 2**63 - 1},
        {"x": -(2**63)},
        {"x": 1.7976931348623157e308},
        {"x": Decimal("1.7976931348623157e308")},
        {"x": Decimal("5E-400")},
        {"x": datetime.datetime.min},
        {"x": datetime.datetime.max},
        {"timestamp": datetime.datetime.min},
        {"timestamp": datetime.datetime.max},
        {"timestamp": "9999-12-31T23:59:59.999999Z"},
        {"name": "n" * 10_000},
        {"x": ""},
        {"x": []},
        {"x": {}},
        {"x": [None, None]},
    ],
)
def test_what_just_keeps_to_other_rules_passes(record: dict[str, Any]) -> None:
    sent = send_records([BAD | record], name=None)

    assert len(sent.events) == 1, sent.refused
    assert rejected_by_the_emulator(sent) == []
