"""A preview says what an import would be, to the byte, and sends nothing."""

from __future__ import annotations

import datetime
import json
import logging
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.records.kinds import EVENTS
from tests.conftest import run
from tests.tries import make_warehouse, orders, posts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_fullstory.batch_import.reporting.preview import Preview
    from airflow_provider_fullstory.emulator.client import EmulatorClient

COUNT = 1234
SQL = {
    "sql": """
        SELECT number, 'u' || number AS customer, '2026-01-01 00:00:00' AS "timestamp",
               CASE WHEN number % 100 = 7 THEN NULL ELSE 'Order' END AS name,
               number / 4.0 AS total, NULL AS vacant
        FROM orders ORDER BY number
    """,
    "sql_conn_id": "warehouse",
    "mapping": {"user.uid": "CUSTOMER", "page_properties.total": "total"},
    "timezone": "Europe/Berlin",
    "schema": {"number": "real"},
}


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview must do without FullStory; imports that it is compared with bring the emulator's."""
    monkeypatch.delenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", raising=False)


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "batch_size": 100, **arguments}
    return FullStoryImportEventsOperator(**given)


def records(count: int) -> list[dict[str, Any]]:
    return [
        {"name": "Order", "user": {"uid": f"u{n}"}, "at": datetime.date(2026, 1, 1), "price": Decimal("1.10")}
        | ({"number": n} if n % 2 else {"user.id": "twice"} if n % 100 == 8 else {"number": str(n)})
        for n in range(count)
    ]


def of_a_query(tmp_path: Path, count: int) -> dict[str, Any]:
    (tmp_path / "warehouse.db").unlink(missing_ok=True)
    make_warehouse(tmp_path / "warehouse.db", count)
    return dict(SQL)


def listed(tmp_path: Path, count: int) -> dict[str, Any]:
    return {"events": records(count)}


def generated(tmp_path: Path, count: int) -> dict[str, Any]:
    return {"events": iter(records(count))}


def in_a_file(tmp_path: Path, count: int) -> dict[str, Any]:
    file = tmp_path / "orders.jsonl"
    lines = [json.dumps({"name": "A", "user": {"uid": f"u{n}"}, "price": 79.1, "n": n}) for n in range(count)]
    lines[5::100] = ["{broken"] * len(lines[5::100])
    file.write_text("\n".join(lines))
    return {"events": f"file://{file}"}


def with_what_is_shared(tmp_path: Path, count: int) -> dict[str, Any]:
    events = [{"name": "A", "properties": {"n": n, "text": "é" * (n % 7)}} for n in range(count)]
    return {"events": events, "shared": {"session": {"id": "1:2"}, "context": {"browser": {"url": "u"}}}}


def with_small_batches(tmp_path: Path, count: int) -> dict[str, Any]:
    events = [order | {"text": "x" * (2000 if n % 100 == 13 else 5)} for n, order in enumerate(orders(count))]
    return {"events": events, "max_batch_bytes": 1000}


SOURCES = [of_a_query, listed, generated, in_a_file, with_what_is_shared, with_small_batches]
each_source = pytest.mark.parametrize("source", SOURCES)


# What it tells --------------------------------------------------------------------------------------------


@each_source
@pytest.mark.parametrize("count", [1, 499, 500, 501, COUNT])
def test_a_complete_preview_is_what_the_import_then_is(
    request: pytest.FixtureRequest,
    database: Path,
    context: Any,
    tmp_path: Path,
    *,
    source: Callable[..., dict[str, Any]],
    count: int,
) -> None:
    preview = importing(**source(tmp_path, count)).preview(limit=None)

    emulator: EmulatorClient = request.getfixturevalue("emulator")
    assert emulator.requests() == []
    report = run(importing(**source(tmp_path, count), max_rejected=count, max_parallel_uploads=1), context)
    sent = posts(emulator)
    assert preview.is_complete
    assert (preview.records, preview.invalid) == (report["records"], report["invalid"])
    assert preview.batches == report["batches"] == len(sent)
    assert preview.bytes == sum(request["body_bytes"] for request in sent)
    assert sum(preview.reasons.values()) == preview.invalid == len(preview.refused)
    codes = [record.refusal.code for record in preview.refused]
    assert {code: codes.count(code) for code in codes} == report["codes"]
    arrived = [event["event"] for event in emulator.events()]
    shown = [json.loads(ENCODER.encode(event)) for event in preview.examples]
    assert shown == arrived[: len(shown)]
    assert len(shown) == min(5, len(arrived))


@each_source
@pytest.mark.parametrize("limit", [0, 1, 9, 10, 11, 499, 500, 501, 1000, COUNT - 1, COUNT, COUNT + 1, None])
def test_a_limited_preview_is_that_of_the_first_records(
    database: Path, tmp_path: Path, source: Callable[..., dict[str, Any]], limit: int | None
) -> None:
    whole = importing(**source(tmp_path, COUNT)).preview(limit=None)
    preview = importing(**source(tmp_path, COUNT)).preview(limit=limit)

    read = COUNT if limit is None else min(limit, COUNT)
    assert preview.records == read
    assert preview.is_complete == (read == COUNT)
    expected = [record for record in whole.refused if record.position <= read]
    assert sorted(map(str, preview.refused)) == sorted(map(str, expected))
    assert preview.invalid == len(expected)
    assert preview.examples == whole.examples[: len(preview.examples)]
    assert len(preview.examples) == min(5, read - len([r for r in expected if r.position <= 5])) or read < 10
    if preview.is_complete:
        assert (preview.batches, preview.bytes) == (whole.batches, whole.bytes)
    else:
        assert (preview.batches, preview.bytes) == (None, None)


@pytest.mark.parametrize("limit", [0, 1, None])
def test_an_empty_source(limit: int | None) -> None:
    preview = importing(events=[]).preview(limit=limit)

    assert (preview.records, preview.is_complete, preview.invalid) == (0, True, 0)
    assert (preview.batches, preview.bytes, preview.examples, preview.mapping) == (0, 0, [], [])


def test_no_more_is_read_than_is_asked_for() -> None:
    read = 0

    def endless() -> Iterator[Any]:
        nonlocal read
        while True:
            read += 1
            yield orders(1)[0]

    preview = importing(events=endless()).preview(limit=700)

    assert (preview.records, preview.is_complete) == (700, False)
    assert read <= 1501


def test_all_of_a_source_that_is_not_read_to_its_end_is_closed(database: Path, tmp_path: Path) -> None:
    arguments = of_a_query(tmp_path, COUNT)
    assert importing(**arguments).preview(limit=3).records == 3

    # A connection that is left open would hold a lock.
    with closing(sqlite3.connect(database, timeout=0.1)) as connection, connection:
        connection.execute("DROP TABLE orders")


# The mapping ----------------------------------------------------------------------------------------------


def entries(preview: Preview) -> list[tuple[str, str, str]]:
    return [(entry.column, entry.field, entry.type) for entry in preview.mapping]


def test_the_mapping_of_a_query(database: Path, tmp_path: Path) -> None:
    preview = importing(**of_a_query(tmp_path, 20)).preview()

    assert sorted(entries(preview)) == [
        ("customer", "user.uid", "text"),
        ("name", "name", "text"),
        ("number", "properties.number", "real"),
        ("timestamp", "timestamp", "timestamp"),
        ("total", "page_properties.total", "real"),
        ("vacant", "properties.vacant", "no value yet"),
    ]


def test_the_mapping_of_columns_with_objects(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE t (user, properties, context, n)")
        connection.execute(
            """INSERT INTO t VALUES ('{"uid": "u"}', '{"a": 1, "b": "x"}', '{"browser": {"url": "u"}}', 5)"""
        )

    preview = importing(sql="SELECT * FROM t", sql_conn_id="warehouse", event_name="A").preview()

    found = {column: (field, kind) for column, field, kind in entries(preview)}
    assert {column: field for column, (field, _) in found.items()} == {
        "user": "user",
        "properties": "properties",
        "context": "context",
        "n": "properties.n",
    }
    assert found["properties"][1] == "int or str"
    assert found["n"][1] == "int"
    # They have values.
    assert found["user"][1] != "no value yet"
    assert found["context"][1] != "no value yet"


def test_the_mapping_of_records_names_their_keys() -> None:
    events = [{"kind": "A", "customer": 5, "n": 1, "when": "2026-01-01"}]
    mapping = {"name": "kind", "user.uid": "Customer", "timestamp": "when"}

    preview = importing(events=events, mapping=mapping).preview()

    assert preview.invalid == 0
    assert sorted(entries(preview)) == [
        ("Customer", "user.uid", "text"),
        ("kind", "name", "text"),
        ("n", "properties.n", "int"),
        ("when", "timestamp", "timestamp"),
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["x"], "str"),
        ([1], "int"),
        ([1.5], "real"),
        ([Decimal(1)], "real"),
        ([True], "bool"),
        ([datetime.date(2026, 1, 1)], "date"),
        ([[1, 2]], "ints"),
        ([[1.5]], "reals"),
        ([["x"]], "strs"),
        ([[True]], "bools"),
        ([[datetime.date(2026, 1, 1)]], "dates"),
        ([1, "x"], "int or str"),
        ([1, None, 1.5], "int or real"),
        ([None], "no value yet"),
        ([{"a": 1, "b": {"c": "x"}}], "int or str"),
    ],
)
def test_types_are_those_that_are_declared_or_taken(database: Path, values: list[Any], kind: str) -> None:
    from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
    from airflow_provider_fullstory.batch_import.reporting.preview import preview
    from airflow_provider_fullstory.records.mapping import map_rows, targets_of_rows
    from airflow_provider_fullstory.records.options import MappingOptions

    options = MappingOptions(EVENTS, name="A", allow_anonymous=True)
    rows = [(value,) for value in values]
    shown = preview(
        "rows",
        targets_of_rows(["x"], options),
        map_rows(["x"], [rows], options),
        options=options,
        limits=BatchLimits(),
        limit=None,
    )

    assert entries(shown) == [("x", "properties.x", kind)]


def test_a_record_that_is_too_large_is_not_shown_as_one_that_is_sent() -> None:
    events = [orders(1)[0] | {"text": "x" * 2000}, orders(1)[0]]

    preview = importing(events=events, max_batch_bytes=1000).preview()

    assert preview.invalid == 1
    assert [event["user"]["uid"] for event in preview.examples] == ["u0"]
    assert all("text" not in event["properties"] for event in preview.examples)


def test_refused_records_come_in_the_order_of_the_source() -> None:
    large = orders(1)[0] | {"text": "x" * 2000}
    nameless = large | {"name": None, "text": "x"}
    events = [large, nameless, large, orders(1)[0], 5, nameless, large, nameless]

    preview = importing(events=events, max_batch_bytes=1000).preview()

    assert [record.position for record in preview.refused] == [1, 2, 3, 5, 6, 7, 8]


def test_every_refusal_has_its_reason_and_its_record() -> None:
    events = [*orders(2), {"user.uid": "u", "n": 1}, {"name": "A", "user.uid": 1.5}, {"user.uid": "v"}, 5]

    preview = importing(events=events).preview()

    assert [(record.position, record.refusal.code) for record in preview.refused] == [
        (3, "required_field"),
        (4, "invalid_argument"),
        (5, "required_field"),
        (6, "invalid_argument"),
    ]
    assert preview.refused[0].record["properties"] == {"n": 1}
    missing = "name is missing; fill the column 'name' or set event_name (required_field)"
    assert next(iter(preview.reasons.items())) == (missing, 2)
    lines = "\n".join(preview.lines())
    assert f"  2 x {missing} (records 3, 5)" in lines
    assert "Records read: 6 (all of them); 4 of them are invalid." in lines


def test_more_refusals_than_are_listed_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_fullstory.batch_import.reporting import preview as previews

    monkeypatch.setattr(previews, "_MOST_REFUSED", 7)
    preview = importing(events=[{"user.uid": "u"}] * 20).preview()

    assert (preview.invalid, len(preview.refused)) == (20, 7)
    assert sum(preview.reasons.values()) == 20
    assert "records 1, 2, 3, 4, 5, ...)" in "\n".join(preview.lines())


# Nothing is sent ------------------------------------------------------------------------------------------


@each_source
def test_nothing_is_asked_of_fullstory(
    database: Path,
    tmp_path: Path,
    *,
    source: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise AssertionError("a preview needs no FullStory")

    monkeypatch.setattr(FullStoryHook, "__init__", fail)
    refused = tmp_path / "refused.jsonl"
    operator = importing(
        **source(tmp_path, 20),
        rejected_uri=f"file://{refused}",
        state_uri=f"file://{tmp_path / 'state'}",
        stage_batches=True,
        fullstory_conn_id="nowhere",
    )

    assert operator.preview().records == 20
    operator.dry_run()

    assert not refused.exists()
    assert not (tmp_path / "state").exists()


def test_a_preview_changes_nothing_about_the_import(emulator: EmulatorClient, context: Any) -> None:
    operator = importing(events=orders(25))
    operator.preview(limit=3)
    operator.dry_run()
    assert emulator.requests() == []

    assert run(operator, context)["imported"] == 25


# Errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shows", [lambda operator: operator.preview(), lambda operator: operator.dry_run()])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sql": 'SELECT 1 AS "user.uuid"', "sql_conn_id": "warehouse"}, "did you mean 'user.uid'"),
        ({"sql": "SELECT 1 AS a", "sql_conn_id": "warehouse", "mapping": {"name": "b"}}, "does not have"),
        ({"sql": "SELECT 1 AS a, 2 AS a", "sql_conn_id": "warehouse"}, "two columns 'a'"),
        ({"sql": "SELECT 1 AS name", "sql_conn_id": "warehouse", "event_name": "A"}, "event_name is set"),
        ({"sql": "SELECT 1", "sql_conn_id": "nowhere"}, "no connection 'nowhere'"),
        ({"events": [], "mapping": {"user.uuid": "a"}}, "mapping has the key 'user.uuid'"),
        ({"events": [], "event_name": ""}, "event_name cannot be sent"),
        ({"events": [], "schema": {"a": "money"}}, "declares 'a' as 'money'"),
        ({"events": [], "shared": {"user": {"uid": ""}}}, "shared cannot be sent"),
        ({"events": [], "record_key": "user.uuid"}, "record_key has 'user.uuid'"),
        ({"events": [], "timezone": "Mars"}, "timezone is 'Mars'"),
        ({"events": [], "batch_size": 0}, "batch_size is 0"),
        ({"events": [], "max_batch_bytes": 0}, "max_batch_bytes is 0"),
        ({"events": [], "batch_size": "x"}, "batch_size is 'x'"),
        ({}, "not neither"),
        ({"events": "no uri"}, "not a URI"),
    ],
)
def test_what_is_wrong_with_all_records_raises(
    database: Path, shows: Callable[..., Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(FullStoryInputError, match="(?s)" + words.replace("(", r"\(")):
        shows(importing(**arguments))


def test_a_mapping_that_is_wrong_has_its_own_error(database: Path) -> None:
    with pytest.raises(FullStoryMappingError):
        importing(sql="SELECT 1 AS 'a-b'", sql_conn_id="warehouse").preview(limit=0)


def test_the_import_fails_with_the_words_of_the_preview(
    emulator: EmulatorClient, database: Path, context: Any
) -> None:
    arguments = {"sql": 'SELECT 1 AS "user.uuid"', "sql_conn_id": "warehouse"}
    with pytest.raises(FullStoryMappingError) as previewed:
        importing(**arguments).preview()
    with pytest.raises(AirflowFailException) as imported:
        run(importing(**arguments), context)
    assert str(imported.value).startswith(str(previewed.value))


# The log --------------------------------------------------------------------------------------------------


def logged(operator: FullStoryImportEventsOperator, caplog: Any, capfd: Any) -> str:
    caplog.clear()
    capfd.readouterr()
    with caplog.at_level(logging.INFO):
        operator.dry_run()
    output = capfd.readouterr()
    return str(caplog.text + output.out + output.err)


@each_source
def test_a_dry_run_shows_the_preview_in_the_log(
    database: Path, tmp_path: Path, *, source: Callable[..., dict[str, Any]], caplog: Any, capfd: Any
) -> None:
    preview = importing(**source(tmp_path, 20)).preview(limit=None)

    text = logged(importing(**source(tmp_path, 20)), caplog, capfd)

    assert all(line in text for line in preview.lines())
    assert "nothing is sent" in text
    assert f"Batches: {preview.batches}" in text


def test_a_dry_run_reads_more_than_a_preview(caplog: Any, capfd: Any) -> None:
    text = logged(importing(events=orders(2500)), caplog, capfd)

    assert "Records read: 2500 (all of them)" in text
    assert "Batches: 25" in text
