"""Values inside arrays, maps and rows; the types of DuckDB are in test_types.py, on a real database."""

from __future__ import annotations

from typing import Any, Self

import pytest

from airflow_provider_fullstory.sources.drivers.nested import databricks_value, trino_value


class Row(tuple[Any, ...]):  # noqa: SLOT001
    """A row as Trino's driver gives it, which knows the names of its fields."""

    def __new__(cls, **fields: Any) -> Self:
        row = super().__new__(cls, fields.values())
        row.__annotations__ = {"names": list(fields)}
        return row


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("JSON", "[1]", [1]),
        ("array(array(json))", [["[1]", None], None], [[[1], None], None]),
        ("map(map(varchar(5), decimal(9,2)), json)", {"k": "[1]"}, {"k": [1]}),
        ('row("a, (b" json, c varchar)', Row(a="[1]", c="[1]"), {"a": [1], "c": "[1]"}),
        ('row("say ""json""" decimal(9, 2), b json)', Row(a="1", b="[1]"), {"a": "1", "b": [1]}),
        ("row(a row(b json))", Row(a=Row(b="[1]")), {"a": {"b": [1]}}),
        ("row(json timestamp(3) with time zone)", Row(json="[1]"), {"json": "[1]"}),
    ],
)
def test_json_inside_types_of_trino_is_read(kind: str, value: Any, expected: Any) -> None:
    read = trino_value(kind)

    assert read is not None
    assert read(value) == expected


@pytest.mark.parametrize("names", [[None, None], ["a", None], ["a", "a"], []])
def test_a_row_of_trino_that_makes_no_object_is_an_array(names: list[str | None]) -> None:
    row = Row(a="[1]", b="[1]")
    row.__annotations__ = {"names": names}

    read = trino_value("row(json, varchar)")

    assert read is not None
    assert read(row) == [[1], "[1]"]


@pytest.mark.parametrize("kind", ["varchar(20)", "array(varchar)", "map(varchar, integer)", "json2"])
def test_other_types_of_trino_stay_as_they_are(kind: str) -> None:
    assert trino_value(kind) is None


def test_a_map_of_databricks_is_told_from_a_list_by_its_pairs() -> None:
    assert databricks_value([("k", [{"x": [("n", 1)]}])]) == {"k": [{"x": {"n": 1}}]}
    assert databricks_value([["k", 1], []]) == [["k", 1], []]
