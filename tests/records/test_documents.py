"""Columns whose text is JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.exceptions import FullStoryMappingError
from airflow_provider_fullstory.records.kinds import EVENTS, USERS
from airflow_provider_fullstory.records.mapping import map_records, map_rows
from airflow_provider_fullstory.records.options import MappingOptions

if TYPE_CHECKING:
    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk

KINDS = pytest.mark.parametrize(("kind", "uid"), [(EVENTS, "user.uid"), (USERS, "uid")])


def options(kind: RecordKind, **given: Any) -> MappingOptions:
    return MappingOptions(kind, name="A" if kind is EVENTS else None, **{"json_columns": ["payload"]} | given)


def mapped(source: str, uid: str, values: list[Any], made: MappingOptions, name: str) -> MappedChunk:
    if source == "rows":
        rows = [(str(number), value) for number, value in enumerate(values)]
        [chunk] = map_rows([uid, name], [rows], made)
    else:
        [chunk] = map_records([{uid: str(number), name: value} for number, value in enumerate(values)], made)
    return chunk


def properties(chunk: MappedChunk) -> list[Any]:
    return [json.loads(ENCODER.encode(record)).get("properties") for record in chunk.records]


@KINDS
@pytest.mark.parametrize("source", ["rows", "records"])
@pytest.mark.parametrize("name", ["payload", "PAYLOAD", "properties.payload"])
def test_text_of_a_json_column_is_sent_as_what_it_holds(
    kind: RecordKind, uid: str, source: str, name: str
) -> None:
    column = name.rpartition(".")[2]
    values = ['{"city": "Bonn", "n": 1}', "[1, 2]", '"text"', "null", None, {"read": "already"}]

    chunk = mapped(source, uid, values, options(kind, json_columns=[name]), name)

    sent = [{"city": "Bonn", "n": 1}, [1, 2], "text", None, None, {"read": "already"}]
    assert properties(chunk) == [None if value is None else {column: value} for value in sent]
    assert chunk.invalid == []


def test_numbers_keep_their_digits() -> None:
    chunk = mapped("rows", "uid", ['{"price": 1.10}'], options(USERS), "payload")

    assert b'{"price":1.10}' in ENCODER.encode(chunk.records[0])


@KINDS
@pytest.mark.parametrize("source", ["rows", "records"])
@pytest.mark.parametrize(
    "text", ["", "{", "plain", "{'a': 1}", '{"a": 1} {"b": 2}', "NaN", '{"a": "\ud800"}']
)
def test_text_that_is_not_json_refuses_its_record_alone(
    kind: RecordKind, uid: str, source: str, text: str
) -> None:
    chunk = mapped(source, uid, ['{"a": 1}', text, '{"a": 3}'], options(kind), "payload")

    assert chunk.positions == [1, 3]
    [record] = chunk.invalid
    assert record.position == 2
    assert record.refusal.reason.startswith(
        "property 'payload' is one of json_columns, but its text is not JSON; make it NULL"
    )
    properties = record.record["properties"]
    assert properties["payload"] == ({"$str": '{"a": "\\ud800"}'} if "\ud800" in text else text)


def test_a_column_is_named_as_the_source_names_it_wherever_it_is_mapped() -> None:
    made = options(EVENTS, mapping={"properties.first": "payload", "properties.second": "payload"})

    chunk = mapped("rows", "user.uid", ['{"a": "b"}'], made, "payload")

    assert properties(chunk) == [{"first": {"a": "b"}, "second": {"a": "b"}}]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"json_columns": ["absent"]}, r"json_columns names column 'absent', which the source does not have"),
        ({"json_columns": ["user.uid"]}, r"json_columns leads to 'user\.uid', which is no property"),
        ({"excluded": ["payload"]}, r"json_columns has 'payload', which exclude_columns keeps from"),
    ],
)
def test_a_column_that_cannot_hold_documents_fails_the_import(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(FullStoryMappingError, match=problem):
        mapped("rows", "user.uid", ["{}"], options(EVENTS, **given), "payload")
