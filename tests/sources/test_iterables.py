"""Records come from values, files and queries, and a source that breaks says where."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sqlite3
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryMappingError,
    FullStorySourceError,
)
from airflow_provider_fullstory.records.mapping import map_rows
from airflow_provider_fullstory.sources.iterables import records_of
from airflow_provider_fullstory.sources.lines import Unreadable
from airflow_provider_fullstory.sources.query import query
from tests.records.sending import batched, make_options, send_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECORDS = [{"a": 1}, {"a": 2}, {"a": 3}]
LINES = b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'

#: Without the time, which would be part of the names of tests.
zipped = partial(gzip.compress, mtime=0)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(RECORDS, id="list"),
        pytest.param(tuple(RECORDS), id="tuple"),
        pytest.param((record for record in RECORDS), id="generator"),
        pytest.param([RECORDS[:2], RECORDS[2:]], id="lists of mapped tasks"),
        pytest.param([RECORDS[:2], [], RECORDS[2]], id="lists and records"),
        pytest.param({1: RECORDS[0], 2: RECORDS[1], 3: RECORDS[2]}.values(), id="view"),
    ],
)
def test_records_come_from_any_iterable(events: Any) -> None:
    assert list(records_of(events)) == RECORDS


def test_one_dict_is_one_record() -> None:
    assert list(records_of({"a": 1})) == [{"a": 1}]


@pytest.mark.parametrize("events", [5, None, b"bytes", bytearray(b"a"), memoryview(b"a"), object()])
def test_what_holds_no_records_is_refused(events: Any) -> None:
    with pytest.raises(
        FullStoryInputError, match=rf"^events is of type {type(events).__name__}; it must be an"
    ):
        list(records_of(events, "events"))


@pytest.mark.parametrize("text", ["[{'a': 1}]", "", "records.ndjson", '{"a": 1}'])
def test_text_that_is_no_uri_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(
        FullStoryInputError, match=r"^users is text but not a URI\. The output of a task is passed as"
    ):
        list(records_of(text, "users"))


def test_the_source_is_not_read_ahead() -> None:
    def endless() -> Iterator[dict[str, int]]:
        while True:
            yield {"a": 1}

    assert next(records_of(endless())) == {"a": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ndjson", LINES),
        ("a.ndjson", LINES.rstrip()),
        ("a.ndjson", b"\xef\xbb\xbf" + LINES),
        ("a.ndjson", LINES.replace(b"\n", b"\r\n")),
        ("a.ndjson", b"\n\n  \r\n" + LINES.replace(b"\n", b"\n\n\t\n")),
        ("a.ndjson.gz", zipped(LINES)),
        ("a.ndjson.gz", zipped(b"\xef\xbb\xbf" + LINES)),
        ("a.ndjson.gz", zipped(LINES[:9]) + zipped(LINES[9:])),
    ],
    ids=["plain", "no last line break", "BOM", "CRLF", "blank lines", "gzip", "BOM in gzip", "gzip members"],
)
@pytest.mark.parametrize("form", ["text", "uri", "path"])
def test_a_file_gives_a_record_a_line(tmp_path: Path, name: str, content: bytes, form: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    location: Any = {"text": str(path), "uri": f"file://{path}", "path": path}[form]

    assert list(records_of(location)) == RECORDS


def test_a_file_is_read_from_any_object_storage() -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from fsspec.implementations.memory import MemoryFileSystem

    # Each Airflow has it elsewhere.
    name = "airflow.sdk.io" if importlib.util.find_spec("airflow.sdk") else "airflow.io.store"
    importlib.import_module(name).attach("memory", fs=MemoryFileSystem())
    path = ObjectStoragePath("memory://bucket/records.ndjson")
    with path.open("wb") as file:
        file.write(LINES)

    assert list(records_of("memory://bucket/records.ndjson")) == RECORDS
    assert list(records_of(path)) == RECORDS


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"{broken", id="broken"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": "\xff"}', id="no UTF-8"),
        pytest.param(b'{"a": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"a": 1} {"a": 2}', id="two records"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(b'{"a": 1e9999999999999999999999}', id="exponent without end"),
        pytest.param(b'{"a": 1e1000000}', id="number beyond any float"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="text"),
    ],
)
def test_a_line_that_is_no_record_is_refused_alone(tmp_path: Path, line: bytes) -> None:
    location = write(tmp_path / "a.ndjson", b'{"a": 1}\n' + line + b'\n{"a": 3}\n')

    sent = send_records(records_of(location))

    assert [event["properties"]["a"] for event in sent.events] == [1, 3]
    assert [invalid.position for invalid in sent.refused] == [2]


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    [line] = records_of(write(tmp_path / "a.ndjson", b"\n\n{broken\n"))

    assert isinstance(line, Unreadable)
    assert line.text == "{broken"
    assert line.line == "line 3"
    assert line.problem


def test_numbers_of_a_file_are_kept_digit_by_digit(tmp_path: Path) -> None:
    line = b'{"a":1.10,"b":12345678901234567.125,"c":7}'

    assert line in send_records(records_of(write(tmp_path / "a.ndjson", line))).bodies[0]
    assert list(records_of(write(tmp_path / "a.ndjson", b'{"a": 0.1}'))) == [{"a": Decimal("0.1")}]


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"  "], ids=["plain", "BOM", "spaces"])
def test_a_json_array_in_a_file_is_refused_with_what_would_be_right(tmp_path: Path, prefix: bytes) -> None:
    with pytest.raises(FullStoryInputError, match="holds a JSON array; events= takes newline-delimited JSON"):
        list(records_of(write(tmp_path / "a.json", prefix + b'[{"a": 1}]'), "events"))


def corrupt_gzip() -> bytes:
    content = bytearray(gzip.compress(b"".join(b'{"a": %d}\n' % (n * 7919 % 1000) for n in range(20_000))))
    middle = len(content) // 2
    content[middle : middle + 2] = bytes(255 - byte for byte in content[middle : middle + 2])
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(LINES * 1000)[:-20], id="truncated"),
        pytest.param(gzip.compress(LINES)[:10] + b"\xff" * 20, id="garbage after the header"),
        pytest.param(corrupt_gzip(), id="corrupt in the middle"),
        pytest.param(gzip.compress(LINES)[:-8] + b"\0" * 8, id="wrong checksum"),
    ],
)
def test_a_broken_gzip_file_says_how_far_it_was_read(tmp_path: Path, content: bytes) -> None:
    location = write(tmp_path / "a.ndjson.gz", content)

    with pytest.raises(FullStorySourceError, match=r"a\.ndjson\.gz could not be read( after line \d+)?: "):
        list(records_of(location))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FullStoryInputError, match=r"/absent\.ndjson is not a file\. A folder is named with a sl"
    ):
        list(records_of(str(tmp_path / "absent.ndjson")))


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FullStoryInputError, match=r" is not a file\. A folder is named with a slash at its"):
        list(records_of(str(tmp_path)))


def test_a_scheme_that_nobody_knows_is_refused_with_its_name() -> None:
    with pytest.raises(FullStoryInputError, match="nonsense"):
        list(records_of("nonsense://bucket/key"))


def test_an_empty_file_gives_no_records(tmp_path: Path) -> None:
    assert not list(records_of(write(tmp_path / "a.ndjson", b"")))


class FakeHook:
    """The part of a DbApiHook that is used."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def get_conn(self) -> Any:
        if isinstance(self.connection, Exception):
            raise self.connection
        return self.connection


class FakeCursor:
    """A cursor over given rows that may fail."""

    arraysize = 1

    def __init__(self, columns: list[str] | None, rows: list[Any], fail_after: int | None = None) -> None:
        self.description = columns and [(column,) for column in columns]
        self.rows = rows
        self.fail_after = fail_after
        self.fetched = 0
        self.executed: list[tuple[Any, ...]] = []
        self.closed = False

    def cursor(self) -> FakeCursor:
        return self

    def execute(self, *arguments: Any) -> None:
        self.executed.append(arguments)

    def fetchmany(self, size: int) -> list[Any]:
        if self.fail_after is not None and self.fetched >= self.fail_after:
            raise RuntimeError("server closed the connection unexpectedly\n")
        rows = self.rows[self.fetched : self.fetched + size]
        self.fetched += len(rows)
        return rows

    def close(self) -> None:
        self.closed = True


def read(connection: Any, sql: str = "SELECT 1", parameters: Any = None) -> tuple[list[str], list[Any]]:
    with query(FakeHook(connection), sql, parameters) as result:  # type: ignore[arg-type]
        return result.columns, [row for chunk in result.chunks for row in chunk]


@pytest.fixture
def sqlite_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    with sqlite3.connect(tmp_path / "warehouse.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, amount REAL)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", [(n, n / 4) for n in range(1203)])
    connection.close()
    uri = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(uri))
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    return lambda: SqliteHook(sqlite_conn_id="warehouse")


def test_a_query_gives_all_rows_in_chunks(sqlite_hook: Callable[[], Any]) -> None:
    sql = 'SELECT id AS "user.uid", amount FROM orders WHERE id >= ? ORDER BY id;\n'
    with query(sqlite_hook(), sql, (3,)) as result:
        chunks = list(result.chunks)

    assert result.columns == ["user.uid", "amount"]
    assert [len(chunk) for chunk in chunks] == [500, 500, 200]
    assert [tuple(row) for row in chunks[0][:2]] == [(3, 0.75), (4, 1.0)]


def test_a_query_without_rows_still_has_columns(sqlite_hook: Callable[[], Any]) -> None:
    with query(sqlite_hook(), "SELECT id FROM orders WHERE id < 0", None) as result:
        assert (result.columns, list(result.chunks)) == (["id"], [])


@pytest.mark.parametrize("sql", ["SELECT nothing FROM orders", "SELEKT 1", "SELECT * FROM absent"])
def test_a_query_that_the_database_refuses_says_why(sqlite_hook: Callable[[], Any], sql: str) -> None:
    with (
        pytest.raises(FullStorySourceError, match=r"^The query failed: OperationalError: "),
        query(sqlite_hook(), sql, None),
    ):
        pass


@pytest.mark.parametrize("sql", ["DELETE FROM orders WHERE id < 0", "CREATE TABLE other (a)"])
def test_a_statement_that_returns_no_rows_is_refused(sqlite_hook: Callable[[], Any], sql: str) -> None:
    with (
        pytest.raises(FullStoryInputError, match="returns no rows at all: sql must be one SELECT"),
        query(sqlite_hook(), sql, None),
    ):
        pass


def test_duplicate_columns_of_a_join_are_named(sqlite_hook: Callable[[], Any]) -> None:
    with (
        query(sqlite_hook(), "SELECT a.id, b.id FROM orders a, orders b", None) as result,
        pytest.raises(FullStoryMappingError, match=r"there are two columns 'id'"),
    ):
        map_rows(result.columns, result.chunks, make_options())


def test_a_database_that_cannot_be_reached_says_so() -> None:
    with pytest.raises(FullStorySourceError, match=r"^The query failed: OSError: no route to host"):
        read(OSError("no route to host"))


@pytest.mark.parametrize(("fail_after", "message"), [(0, "failed: "), (500, "failed after 500 rows: ")])
def test_a_query_that_fails_midway_says_how_far_it_came(fail_after: int, message: str) -> None:
    cursor = FakeCursor(["a"], [(n,) for n in range(2000)], fail_after)

    with pytest.raises(FullStorySourceError) as caught:
        read(cursor)

    assert str(caught.value).startswith(f"The query {message}RuntimeError: server closed the connection")
    assert cursor.closed


def test_parameters_are_passed_only_where_there_are_some() -> None:
    cursor = FakeCursor(["a"], [])
    read(cursor, " SELECT 1 ;\n")
    read(cursor, "SELECT %s", [])
    read(cursor, "SELECT '100%'", {"a": 1})

    assert cursor.executed == [("SELECT 1 ",), ("SELECT %s", []), ("SELECT '100%'", {"a": 1})]
    assert cursor.arraysize == 500


def test_rows_that_a_connection_gives_as_dicts_keep_their_values() -> None:
    # Airflow's connections can ask for such cursors: {"cursor": "dictcursor"} in the extra of MySQL's.
    cursor = FakeCursor(["user.uid", "amount"], [{"user.uid": "u", "amount": 5}])

    with query(FakeHook(cursor), "SELECT 1", None) as result:  # type: ignore[arg-type]
        options = make_options()
        sent = batched(map_rows(result.columns, result.chunks, options), options)

    assert sent.event["user"] == {"uid": "u"}
    assert sent.event["properties"] == {"amount": 5}
