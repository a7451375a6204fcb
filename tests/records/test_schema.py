"""Types are declared where FullStory would infer others, and only for what a row has."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.schema import TYPES, check_types
from tests.records.sending import send_records, send_rows


def types_of(event: dict[str, Any]) -> dict[str, str]:
    types: dict[str, str] = event.get("schema", {}).get("properties", {})
    return types


def test_integers_and_dates_are_declared_and_nothing_else() -> None:
    sent = send_records(
        [
            {
                "i": 1,
                "d": datetime.date(2026, 1, 1),
                "ii": [1],
                "dd": [datetime.date(2026, 1, 1)],
                "f": 1.0,
                "n": Decimal(1),
                "s": "a",
                "b": True,
                "u": uuid.UUID(int=1),
                "o": {"i": 1, "deep": {"ii": [1]}, "s": "a"},
            }
        ]
    )

    assert types_of(sent.event) == {
        "i": "int", "d": "date", "ii": "ints", "dd": "dates", "o.i": "int", "o.deep.ii": "ints",
    }  # fmt: skip


def test_a_row_declares_nothing_for_its_nulls() -> None:
    sent = send_rows(["i", "o"], [(1, {"a": 1}), (None, {"a": None}), (2, None)])

    assert [types_of(event) for event in sent.events] == [{"i": "int", "o.a": "int"}, {}, {"i": "int"}]


def test_page_properties_have_a_schema_of_their_own() -> None:
    event = send_rows(["page_properties.depth", "depth"], [(1, 2)], schema={"depth": "real"}).event

    assert event["page_properties_schema"] == {"properties": {"depth": "int"}}
    assert event["schema"] == {"properties": {"depth": "real"}}


def test_the_order_of_columns_does_not_change_the_schemas_bytes() -> None:
    assert send_rows(["b", "a"], [(1, 2)]).bodies == send_rows(["a", "b"], [(2, 1)]).bodies


FITTING = [
    (1, "int"), (1, "real"), (1.5, "real"), (Decimal("1.5"), "real"), ("a", "str"), (True, "bool"),
    ("2026-01-01", "date"), ("2026-01-01T00:00:00Z", "date"), (datetime.date(2026, 1, 1), "date"),
    (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "date"), ([1], "ints"), ([1], "reals"),
    ([], "ints"), (["a"], "strs"), ([True], "bools"), (["2026-01-01"], "dates"),
    (uuid.UUID(int=1), "str"), (datetime.time(9), "str"), (datetime.timedelta(1), "real"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), FITTING, ids=lambda value: str(value)[:20])
def test_a_declared_type_is_sent_alone_among_others_and_inside_objects(value: Any, kind: str) -> None:
    assert types_of(send_rows(["x"], [(value,)], schema={"x": kind}).event) == {"x": kind}
    mixed = send_rows(["x"], [(value,), (None,)], schema={"x": kind})
    assert [types_of(event) for event in mixed.events] == [{"x": kind}, {}]
    inside = send_rows(["o"], [({"x": value},)], schema={"o.x": kind})
    assert types_of(inside.event) == {"o.x": kind}
    column = send_rows(["properties.o.x"], [(value,)], schema={"o.x": kind})
    assert column.bodies == inside.bodies


@pytest.mark.parametrize("value", [Decimal(5), Decimal("5.00"), Decimal("5E+2"), 5.0], ids=str)
def test_a_whole_number_of_another_kind_is_sent_as_the_int_that_is_declared(value: Any) -> None:
    sent = send_rows(["x"], [(value,), (None,)], schema={"x": "int"})

    assert sent.events[0]["properties"]["x"] == int(value)
    assert b"." not in sent.bodies[0]
    assert b"E" not in sent.bodies[0]


MISFITS = [
    ("a", "int"), (1.5, "int"), (True, "int"), (Decimal("1.5"), "int"), ("1", "real"), (True, "real"),
    (1, "str"),
    (1, "bool"), ("a", "bool"), ("yesterday", "date"), (1, "date"), (1, "ints"), (["a"], "ints"),
    ([1], "int"), ([1, 2], "strs"), ({"a": 1}, "str"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), MISFITS, ids=lambda value: str(value)[:20])
def test_a_value_that_is_not_of_its_declared_type_is_refused(value: Any, kind: str) -> None:
    sent = send_rows(["x"], [(value,), (None,)], schema={"x": kind})

    assert len(sent.events) == 1
    assert f"property 'x' is declared {kind!r}, which its value is not" in sent.refused[0].refusal.reason


@pytest.mark.parametrize(("value", "kind"), MISFITS, ids=lambda value: str(value)[:20])
def test_a_value_inside_an_object_that_is_not_of_its_declared_type_is_refused(value: Any, kind: str) -> None:
    sent = send_rows(["o"], [({"x": value},)], schema={"o.x": kind})

    assert f"property 'o.x' is declared {kind!r}, which its value is not" in sent.reason


def test_a_declaration_reaches_into_an_object_below_a_dotted_column() -> None:
    sent = send_rows(["properties.a.b"], [({"c": 1},)], schema={"a.b.c": "real"})

    assert types_of(sent.event) == {"a.b.c": "real"}


def test_a_records_own_schema_counts_before_the_users_and_the_users_before_the_values() -> None:
    record = {"own": 1.5, "users": 1, "values": 1, "schema": {"properties": {"own": "real"}}}

    sent = send_records([record, {"own": 1}, {"own": 1.5}], schema={"own": "int", "users": "real"})

    assert [types_of(event) for event in sent.events] == [
        {"own": "real", "users": "real", "values": "int"}, {"own": "int"},
    ]  # fmt: skip
    assert [invalid.position for invalid in sent.refused] == [3]


@pytest.mark.parametrize(("value", "kind"), MISFITS, ids=lambda value: str(value)[:20])
def test_a_value_that_is_not_of_the_type_its_record_declares_is_refused(value: Any, kind: str) -> None:
    own = {"properties": {"x": kind, "o.x": kind, "absent": kind}}
    flat, inside = {"x": value, "schema": own}, {"o": {"x": value}, "schema": own}

    assert f"property 'x' is declared {kind!r}, which its value is not" in send_records([flat]).reason
    assert f"property 'o.x' is declared {kind!r}, which its value is not" in send_records([inside]).reason


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ([], 'schema must have the form {"properties"'),
        ({}, 'schema must have the form {"properties"'),
        ({"properties": 1}, 'schema must have the form {"properties"'),
        ({"properties": {}, "more": 1}, 'schema must have the form {"properties"'),
        ({"properties": {"a b": "int"}}, "schema declares a type for what is not the name of a property"),
        ({"properties": {1: "int"}}, "schema declares a type for what is not the name of a property"),
        ({"properties": {"a": "integer"}}, "schema declares a type that is none of str, strs, int, ints"),
        ({"properties": {"a": ["int"]}}, "schema declares a type that is none of str"),
        ({"properties": {"a": None}}, "schema declares a type that is none of str"),
    ],
    ids=str,
)
def test_a_records_own_schema_in_another_form_is_refused(schema: Any, reason: str) -> None:
    assert reason in send_records([{"x": 1, "schema": schema}]).reason


@pytest.mark.parametrize("columns", [["x", "schema"], ["properties", "SCHEMA"]])
def test_a_records_own_schema_may_be_text(columns: list[str]) -> None:
    own = '{"properties": {"x": "real"}}'
    value = 1 if columns[0] == "x" else '{"x": 1}'
    sent = send_rows(columns, [(value, own), (value, None), (value, "real")])

    assert [types_of(event) for event in sent.events] == [{"x": "real"}, {"x": "int"}]
    assert sent.refused[0].refusal.reason.startswith('schema must have the form {"properties"')


@pytest.mark.parametrize("properties", [{"a": {"b": "x"}}, {"a.b": "x"}], ids=["nested", "dotted"])
def test_an_object_that_its_record_declares_as_a_scalar_is_refused(properties: dict[str, Any]) -> None:
    declaring = {"properties": properties, "schema": {"properties": {"a": "str"}}}
    plain = {"properties": {"a.b": None, "c": 1}, "schema": {"properties": {"a": "str"}}}

    sent = send_records([declaring, plain])

    assert [record.position for record in sent.refused] == [1]
    assert "property 'a' is declared 'str', which its value is not" in str(sent.refused[0])


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_of_fullstorys_can_be_declared(kind: str) -> None:
    check_types({"a.b": kind})


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"a": "integer"}, "schema declares 'a' as 'integer'; the types are str, strs, int, ints, real"),
        ({"a b": "int"}, "schema declares 'a b': property names start with a letter"),
        ({"a": None}, "schema declares 'a' as None; the types are"),
        ({"": "int"}, "schema declares '': property names start with a letter"),
    ],
    ids=str,
)
def test_a_declaration_that_fullstory_would_not_take_is_refused(types: dict[str, Any], message: str) -> None:
    with pytest.raises(FullStoryInputError) as caught:
        check_types(types)

    assert message in str(caught.value)
