"""The result of a query is read piece by piece, whatever the driver: on real databases where possible."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import FullStorySourceError
from airflow_provider_fullstory.sources import query as query_module
from airflow_provider_fullstory.sources.query import query
from demo.processes import wait_for
from tests.sources.drivers.drivers import (
    EMBEDDED,
    LEAVE,
    HookOf,
    connection_options,
    drivers_of_postgresql,
    every_driver,
    hook_of,
    read_all,
    read_in_turn,
    run,
    select_rows,
)

if TYPE_CHECKING:
    from demo.warehouse import Warehouse


@every_driver
def test_the_rows_are_those_of_the_result_in_chunks(driver: str) -> None:
    with query(hook_of(driver), select_rows(driver, 25_000), None) as result:
        chunks = list(result.chunks)

    assert result.columns == ["n", "note"]
    assert [row[0] for chunk in chunks for row in chunk] == list(range(1, 25_001))
    assert max(map(len, chunks)) <= 500


@every_driver
def test_memory_does_not_grow_with_the_result(driver: str) -> None:
    counts, peaks = read_in_turn(driver, select_rows(driver, 3_000), select_rows(driver, 300_000))

    assert counts == [3_000, 300_000]
    # The text alone of the rows that are more has 119 MB.
    assert peaks[1] < peaks[0] + 40_000, peaks


@every_driver
def test_a_result_can_be_left_however_much_of_it_is_left(driver: str) -> None:
    assert run(LEAVE, driver, select_rows(driver, 10**12)) == "left"


@every_driver
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '100%' AS n",
        "SELECT '100%' AS n;",
        "\n SELECT '100%' AS n ;\n",
        "SELECT '100%' AS n -- all of them",
        "SELECT '100%' AS n; -- all of them",
        "-- all of them\nSELECT '100%' AS n /* ; */",
        "WITH a AS (SELECT '100%' AS n) SELECT * FROM a",
    ],
)
def test_a_statement_may_have_comments_a_semicolon_and_percent_signs(driver: str, sql: str) -> None:
    assert read_all(driver, sql) == (["n"], [("100%",)])


@drivers_of_postgresql
@pytest.mark.parametrize(("chunks", "is_reported"), [(2, True), (6, False)])
def test_a_pause_is_reported_only_if_it_came_before_the_failure(
    driver: str, chunks: int, is_reported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(query_module, "time", SimpleNamespace(monotonic=lambda: now))
    sql = "SELECT 10000 / (3000 - n) AS share FROM generate_series(1, 5000) AS n"

    with query(hook_of(driver), sql, None) as result:
        for _ in range(chunks):
            next(result.chunks)
        # After six chunks, the rows with the error are already on their way.
        now += 100.0
        with pytest.raises(FullStorySourceError, match="division by zero") as caught:
            list(result.chunks)

    assert ("nothing was read for 100 s" in str(caught.value)) is is_reported


@drivers_of_postgresql
def test_an_error_midway_is_raised_after_the_rows_before_it(driver: str) -> None:
    sql = "SELECT 10000 / (3000 - n) AS share FROM generate_series(1, 5000) AS n"

    rows: list[Any] = []
    with query(hook_of(driver), sql, None) as result:
        every_row = (row for chunk in result.chunks for row in chunk)
        with pytest.raises(FullStorySourceError, match=r"^The query failed after 2100 rows: .*division by z"):
            rows.extend(every_row)

    assert len(rows) == 100 + 400 + 1600


@every_driver
@pytest.mark.parametrize("rows", [0, 1, 100, 101, 500])
def test_short_results_are_whole(driver: str, rows: int) -> None:
    sql = f"SELECT n FROM ({select_rows(driver, 600)}) AS numbers WHERE n <= {rows}"

    assert read_all(driver, sql) == (["n"], [(n,) for n in range(1, rows + 1)])


# In the first case nothing is fetched ahead yet; in the second, rows that came before the pause are left.
@pytest.mark.parametrize(("chunks", "rows_before"), [(1, 100), (2, 2100)])
@drivers_of_postgresql
def test_a_pause_that_the_database_does_not_allow_is_reported_with_advice(
    driver: str,
    chunks: int,
    rows_before: int,
    postgresql: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = json.loads(postgresql.connection_json())
    connection["extra"] = {"options": "-c idle_in_transaction_session_timeout=1500"}
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRESQL", json.dumps(connection))
    hook = hook_of(driver)
    if isinstance(hook, HookOf):  # It knows nothing of extras.
        import psycopg

        options = connection_options("postgresql", user="login", dbname="schema")
        hook = HookOf(lambda: psycopg.connect(**options, **connection["extra"]))

    def sessions() -> Any:
        with postgresql.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%fullstory_import%'"
                " AND pid <> pg_backend_pid()"
            )
            return cursor.fetchone()[0]

    with query(hook, select_rows(driver, 100_000), None) as result:
        for _ in range(chunks):
            next(result.chunks)
        assert sessions() == 1
        wait_for("PostgreSQL to end the session", lambda: sessions() == 0)
        with pytest.raises(FullStorySourceError) as caught:
            list(result.chunks)

    message = str(caught.value)
    assert message.startswith(f"The query failed after {rows_before} rows: ")
    assert " Before that, nothing was read for " in message
    assert (
        "(PostgreSQL after idle_in_transaction_session_timeout), let it wait longer, or set stage_batches"
        in message
    )


@every_driver
def test_parameters_are_passed_in_the_form_of_the_driver(driver: str) -> None:
    marker = "?" if driver in EMBEDDED else "%s"

    assert read_all(driver, f"SELECT {marker} AS n", ("100%",)) == (["n"], [("100%",)])


@every_driver
def test_a_statement_that_fails_at_once_leaves_no_connection_behind(driver: str) -> None:
    opened: list[Any] = []
    hook = hook_of(driver)

    def connect() -> Any:
        opened.append(hook.get_conn())
        return opened[-1]

    with (
        pytest.raises(FullStorySourceError, match=r"^The query failed: "),
        query(HookOf(connect), "SELECT * FROM absent", None),
    ):
        pass
    [connection] = opened
    with pytest.raises(Exception, match=r"(?i)clos|not connected|gone away|not available|\((0|2006), ''\)"):
        connection.cursor().execute("SELECT 1")
