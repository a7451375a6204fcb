"""Users are imported as events are: from any source, each once, and each is accounted for."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
)
from airflow_provider_fullstory.operators.fullstory import FullStoryImportUsersOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from airflow_provider_fullstory.sources import CHUNK_ROWS
from tests.conftest import run
from tests.operators.syncs import Warehouse
from tests.operators.test_upserts import UsersRun, UsersTask, plans, users
from tests.refused_file import lines_of, write
from tests.tries import crash, crash_after_all_were_sent, entering, failure_of, noting_job, posts

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.conftest import FakeTaskStateStore
    from tests.logs import Log

QUERY = {
    "sql": "SELECT customer, status FROM orders ORDER BY customer",
    "sql_conn_id": "warehouse",
    "mapping": {"uid": "customer", "properties.plan": "status"},
}


def importing(**arguments: Any) -> FullStoryImportUsersOperator:
    return FullStoryImportUsersOperator(**{"task_id": "import", "poll_interval": 0.01, **arguments})


def in_the_task(context: Any, **arguments: Any) -> dict[str, Any]:
    return dict(importing(deferrable=False, **arguments).execute(context))


def in_the_triggerer(context: Any, **arguments: Any) -> dict[str, Any]:
    operator = importing(deferrable=True, **arguments)
    return dict(run(operator, context))


def in_the_sensor(context: Any, **arguments: Any) -> dict[str, Any]:
    submitted = importing(wait_for_completion=False, **arguments).execute(context)
    assert (submitted["resource"], submitted["imported"]) == ("users", None)
    names = ("max_rejected",)
    given = {name: arguments[name] for name in names if name in arguments}
    sensor = FullStoryImportJobSensor(
        task_id="wait", job_ids=submitted, deferrable=True, poke_interval=0.01, **given
    )
    return dict(run(sensor, context))


WAYS = pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer, in_the_sensor])
KEPT = ["store", "state", "folder"]


@pytest.fixture(params=KEPT)
def task(request: pytest.FixtureRequest, task_state_store: FakeTaskStateStore, tmp_path: Path) -> UsersTask:
    """Give a task whose ledger is in Airflow's store, or in the state folder, which may hold batches too."""
    if request.param == "store":
        return UsersTask(task_state_store, None)
    return UsersTask(None, f"file://{tmp_path / 'state'}", stage_batches=request.param == "folder")


@pytest.fixture
def customers(database: Path) -> Warehouse:
    """Give a table of 25 customers, whose plan is free."""
    warehouse = Warehouse(database)
    for number in range(25):
        warehouse.execute("INSERT INTO orders VALUES (?, ?, ?, 'free')", number, f"u{number:02}", number)
    return warehouse


def all_free() -> dict[str, str]:
    return {f"u{number:02}": "free" for number in range(25)}


# Sources and waits ----------------------------------------------------------------------------------------


@WAYS
def test_all_ways_to_wait_give_the_same_report(
    emulator: EmulatorClient, context: Any, import_in: Any
) -> None:
    emulator.configure(processing_seconds=0.1)

    report = import_in(context, users=users("free", 25), batch_size=10)

    assert report == {
        "resource": "users", "job_ids": report["job_ids"], "records": 25, "imported": 25, "invalid": 0,
        "rejected": 0, "skipped": 0, "rejected_uri": None, "batches": 3, "codes": {}, "reasons": {},
        "earliest": None, "latest": None, "without_timestamp": 0, "dropped_properties": {},
        "watermark": None,
    }  # fmt: skip
    assert sorted(report["job_ids"]) == sorted(job["id"] for job in emulator.jobs())
    assert plans(emulator) == {f"u{number}": "free" for number in range(25)}


@WAYS
def test_a_rejected_user_fails_the_task_with_its_code(
    emulator: EmulatorClient, context: Any, import_in: Any
) -> None:
    emulator.configure(processing_seconds=0.1)

    with pytest.raises(AirflowFailException) as caught:
        import_in(context, users=[*users("free"), {"id": "404", "plan": "free"}])

    assert "1 of 4 records is not in FullStory" in str(caught.value)
    assert "user_not_found, says FullStory" in str(caught.value)
    assert len(plans(emulator)) == 3


def test_the_columns_of_a_query_are_mapped(
    emulator: EmulatorClient, context: Any, customers: Warehouse
) -> None:
    report = importing(**QUERY, batch_size=10).execute(context)

    assert (report["imported"], report["batches"]) == (25, 3)
    assert plans(emulator) == all_free()


def test_parameters_and_declared_types_are_sent(
    emulator: EmulatorClient, context: Any, customers: Warehouse
) -> None:
    sql = 'SELECT customer AS "UID", order_id AS ltv FROM orders WHERE customer = :customer'

    importing(
        sql=sql, sql_conn_id="warehouse", parameters={"customer": "u07"}, schema={"ltv": "real"}
    ).execute(context)

    [user] = emulator.users()
    assert user["user"] == {
        "id": user["id"], "uid": "u07", "properties": {"ltv": 7}, "schema": {"properties": {"ltv": "real"}},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["users.jsonl", "users.jsonl.gz"])
def test_files_are_read(emulator: EmulatorClient, context: Any, tmp_path: Path, name: str) -> None:
    lines = "\n".join(map(json.dumps, users("free"))).encode()
    (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)

    importing(users=f"file://{tmp_path}/{name}").execute(context)

    assert plans(emulator) == dict.fromkeys(["u0", "u1", "u2"], "free")


def test_outputs_of_mapped_tasks_are_one_import(emulator: EmulatorClient, context: Any) -> None:
    one, *others = users("free")
    report = importing(users=iter([[one], others])).execute(context)
    assert (report["imported"], report["batches"], len(plans(emulator))) == (3, 1, 3)


def test_users_are_not_among_the_rendered_fields_that_airflow_shows() -> None:
    operator = importing(users=[{"uid": "somebody-special"}])
    assert "users" in operator.template_fields
    assert str(operator.users) == "<1 records>"


def test_both_and_neither_of_users_and_sql_are_refused(emulator: EmulatorClient, context: Any) -> None:
    with pytest.raises(AirflowFailException, match="Give exactly one of users and sql, not neither"):
        importing().execute(context)
    with pytest.raises(AirflowFailException, match="not both"):
        importing(users=users("free"), **QUERY).execute(context)


def test_users_do_not_count_against_the_quota(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(event_quota=1)

    assert importing(users=users("free", 25)).execute(context)["imported"] == 25
    assert not [request for request in emulator.requests() if "quotas" in request["path"]]


def test_neither_users_nor_the_key_go_into_the_trigger(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(TaskDeferred) as deferral:
        importing(users=[{"uid": "somebody-special", "email": "e@example.com"}], deferrable=True).execute(
            context
        )

    shown = str(deferral.value.trigger.serialize())
    assert "users" in shown
    for secret in ("somebody-special", "example.com", *emulator.keys):
        assert secret not in shown


# Between the tries ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferrable"])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_try_that_dies_is_completed_by_the_next(
    task: UsersTask, emulator: EmulatorClient, customers: Warehouse, batch: int, deferrable: bool
) -> None:
    crash(task, noting_job(batch), **QUERY, deferrable=deferrable, max_parallel_uploads=1)

    report = task.attempt(**QUERY, deferrable=deferrable)

    assert (report["records"], report["imported"], report["batches"]) == (25, 25, 3)
    # A batch whose job was not noted is posted again, under its key.
    assert len(emulator.jobs()) == 3
    assert plans(emulator) == all_free()


def test_what_was_staged_is_sent_though_the_table_is_gone(
    emulator: EmulatorClient, customers: Warehouse, tmp_path: Path
) -> None:
    task = UsersTask(None, f"file://{tmp_path / 'state'}", stage_batches=True)
    crash(task, noting_job(1), **QUERY, max_parallel_uploads=1)
    assert task.is_staged
    customers.execute("DROP TABLE orders")

    assert task.attempt(**QUERY)["imported"] == 25
    assert plans(emulator) == all_free()
    assert not task.is_staged


def test_a_retry_after_all_was_sent_does_not_ask_the_table(
    task: UsersTask, emulator: EmulatorClient, customers: Warehouse
) -> None:
    crash_after_all_were_sent(task, **QUERY)
    customers.execute("DROP TABLE orders")

    assert task.attempt(**QUERY)["imported"] == 25
    assert len(posts(emulator)) == 3


def test_a_clear_of_a_green_task_sends_nothing(task: UsersTask, emulator: EmulatorClient) -> None:
    first = task.attempt(users=users("free", 25))
    task.clear()

    assert task.attempt(users=users("free", 25)) == first
    assert len(posts(emulator)) == 3


def test_a_clear_of_a_red_task_is_checked_by_the_gates_of_today(
    task: UsersTask, emulator: EmulatorClient
) -> None:
    given = [*users("free", 24), {"uid": "u24", "plan": "free", "only_fullstory_refuses": True}]
    failure_of(task, FullStoryRecordsRefusedError, users=given)
    task.clear()
    failure_of(task, FullStoryRecordsRefusedError, users=given)
    task.clear()

    report = task.attempt(users=given, max_rejected=1)

    assert (report["imported"], report["rejected"], len(posts(emulator))) == (24, 1, 3)


def test_where_fullstory_has_none_a_clear_sends_what_was_corrected_in_the_table(
    task: UsersTask, emulator: EmulatorClient, customers: Warehouse
) -> None:
    customers.execute("UPDATE orders SET customer = ''")

    message = failure_of(task, FullStoryRecordsRefusedError, **QUERY)

    assert "\nCorrect them in the source: a clear of this task then sends all" in message
    assert "What was sent is kept" not in message
    customers.execute("UPDATE orders SET customer = printf('u%02d', order_id)")
    task.clear()
    assert task.attempt(**QUERY)["imported"] == 25
    assert plans(emulator) == all_free()


def test_by_default_users_that_changed_are_sent_again(
    task: UsersTask, emulator: EmulatorClient, customers: Warehouse
) -> None:
    assert importing().on_source_change == "resend"
    task.attempt(**QUERY)
    customers.execute("UPDATE orders SET status = 'pro' WHERE customer = 'u12'")
    task.clear()

    report = task.attempt(**QUERY)

    assert (report["records"], report["imported"]) == (25, 25)
    assert plans(emulator) == all_free() | {"u12": "pro"}
    # Of the three batches, one changed.
    assert len(emulator.jobs()) == 4


def test_users_that_changed_fail_the_task_where_that_is_asked_for(
    task: UsersTask, emulator: EmulatorClient, customers: Warehouse
) -> None:
    task.attempt(**QUERY, on_source_change="fail")
    customers.execute("UPDATE orders SET status = 'pro' WHERE customer = 'u12'")
    task.clear()

    message = failure_of(task, FullStorySourceChangedError, **QUERY, on_source_change="fail")

    assert "FullStory will then have these records as they are now" in message
    assert plans(emulator) == all_free()


def test_a_table_that_changes_between_two_tries_is_imported_as_it_is_now(
    task: UsersTask, emulator: EmulatorClient, customers: Warehouse
) -> None:
    crash(task, noting_job(3), **QUERY, max_parallel_uploads=1)
    customers.execute("UPDATE orders SET status = 'pro'")
    customers.execute("INSERT INTO orders VALUES (25, 'u25', 25, 'pro')")

    assert task.attempt(**QUERY)["records"] in (25, 26)
    # Batches that were staged are sent as they were; a clear reads the table again.
    task.clear()
    task.attempt(**QUERY)
    assert plans(emulator) == dict.fromkeys([*all_free(), "u25"], "pro")


# Users that are refused, and what is left out of others ---------------------------------------------------

REFUSED = [
    {"uid": "u" * 257, "plan": "free"},
    {"plan": "free"},
    {"uid": "u3", "bio": "b" * 8_193, "seats": 5},
    {"uid": "u0", "plan": "pro"},
    {"uid": "u4", "plan": "free", "only_fullstory_refuses": True},
]


@WAYS
def test_refused_users_come_back_from_their_file(
    emulator: EmulatorClient, make_context: Any, uri: str, import_in: Any
) -> None:
    emulator.configure(processing_seconds=0.1)
    report = import_in(
        make_context(), users=[*users("free"), *REFUSED], max_rejected=5, rejected_uri=uri, record_key="uid"
    )

    assert (report["imported"], report["invalid"], report["rejected"]) == (3, 4, 1)
    assert report["codes"] == {
        "invalid_argument": 2, "invalid_parameter": 1, "required_field": 1, "user_not_found": 1,
    }  # fmt: skip
    assert plans(emulator) == dict.fromkeys(["u0", "u1", "u2"], "free")
    lines = {line["refusal"]["position"]: line for line in lines_of(uri)}
    assert sorted(lines) == [4, 5, 6, 7, 8]
    assert lines[6]["user"] == {
        "uid": "u3",
        "properties": {"bio": "b" * 8_193, "seats": 5},
        "schema": {"properties": {"seats": "int"}},
    }
    assert lines[7]["refusal"]["message"].startswith("uid is that of an earlier record of this import")
    assert (lines[8]["user"]["uid"], lines[8]["refusal"]["outcome"]) == ("u4", "rejected")

    lines[4]["user"]["uid"] = "long"
    lines[5]["user"]["uid"] = "nobody"
    lines[6]["user"]["properties"] |= {"bio": "short", "plan": "free"}
    del lines[8]["user"]["properties"]["only_fullstory_refuses"]
    write(uri, b"".join(json.dumps(line).encode() + b"\n" for line in lines.values()))
    again = import_in(make_context(run_id="run-2"), users=uri)

    assert (again["records"], again["imported"], again["rejected_uri"]) == (5, 5, None)
    assert plans(emulator) == dict.fromkeys(["u1", "u2", "u3", "u4", "long", "nobody"], "free") | {
        "u0": "pro"
    }
    [user] = [user["user"] for user in emulator.users() if user["user"]["uid"] == "u3"]
    assert user["properties"] == {"bio": "short", "plan": "free", "seats": 5}
    assert user["schema"]["properties"]["seats"] == "int"


@WAYS
def test_properties_that_fullstory_would_leave_out_are_left_out_and_counted(
    emulator: EmulatorClient, context: Any, import_in: Any, log: Log
) -> None:
    emulator.configure(processing_seconds=0.1)
    given = [
        {"uid": "u0", "plan": "free", "bio": "b" * 8_193, "bad-name": 1},
        {"uid": "u1", "plan": "free", "bio": "b" * 8_193},
        {"uid": "u2", "plan": "free", **{f"property_{number:03}": number for number in range(500)}},
    ]

    report = import_in(context, users=given, drop_invalid_properties=True)

    assert (report["imported"], report["invalid"]) == (3, 0)
    assert report["dropped_properties"] == {
        "property 'bio' is larger than 8,192 bytes": 2,
        "a property beyond the first 500": 1,
        (
            "property 'bad-name': property names start with a letter and have only letters, digits and "
            "underscores"
        ): 1,
    }
    assert plans(emulator) == dict.fromkeys(["u0", "u1", "u2"], "free")
    assert sorted(len(user["user"]["properties"]) for user in emulator.users()) == [1, 1, 500]
    assert "left out             2  property 'bio' is larger than 8,192 bytes" in str(log)


def test_of_refused_users_nothing_is_left_out_until_they_are_sent(
    emulator: EmulatorClient, make_context: Any, uri: str
) -> None:
    given = [
        {"uid": "u" * 257, "plan": "free", "bio": "b" * 8_193, "bad-name": 1},
        {"uid": "u0", "plan": "free"},
        {"uid": "u0", "plan": "pro", "bad-name": 2},
    ]
    dropping = {"drop_invalid_properties": True}
    report = importing(users=given, max_rejected=2, rejected_uri=uri, **dropping).execute(make_context())
    assert (report["invalid"], report["dropped_properties"]) == (2, {})
    long, again = (line["user"] for line in lines_of(uri))
    assert (long["properties"]["bio"], long["bad-name"], again["bad-name"]) == ("b" * 8_193, 1, 2)

    write(uri, b"".join(json.dumps(user).encode() + b"\n" for user in [long | {"uid": "u1"}, again]))
    report = importing(users=uri, **dropping).execute(make_context(run_id="run-2"))

    assert (report["imported"], sum(report["dropped_properties"].values())) == (2, 3)
    assert plans(emulator) == {"u0": "pro", "u1": "free"}


def test_without_asking_for_it_nothing_is_left_out(emulator: EmulatorClient, context: Any) -> None:
    given = [
        {"uid": "u0", "bio": "b" * 8_192},
        {"uid": "u1", "bio": "b" * 8_193},
        {"uid": "u2", "bad-name": 1},
    ]

    report = importing(users=given, max_rejected=2).execute(context)

    assert (report["imported"], report["invalid"], report["dropped_properties"]) == (1, 2, {})
    [user] = emulator.users()
    assert user["user"]["properties"] == {"bio": "b" * 8_192}


def test_anonymous_users_are_refused_where_they_could_be_made_twice(
    emulator: EmulatorClient, context: Any
) -> None:
    failure = pytest.raises(AirflowFailException, match='does not fit on_source_change="resend"')
    with failure as caught:
        importing(users=[{"plan": "free"}], allow_anonymous=True).execute(context)
    assert isinstance(caught.value, FullStoryInputError)
    assert posts(emulator) == []


def test_the_log_has_no_value_of_a_user(emulator: EmulatorClient, context: Any, log: Log) -> None:
    given = [{"uid": "somebody-special", "email": f"{'e' * 128}@example.com"}, *users("free")]
    importing(users=given, max_rejected=1).execute(context)

    assert "email is longer than 128 characters" in str(log)
    for value in ("somebody-special", "example.com", *emulator.keys):
        assert value not in str(log)


def test_a_preview_says_what_an_import_would_be(customers: Warehouse) -> None:
    customers.execute("INSERT INTO orders VALUES (25, 'u00', 0, 'pro'), (26, NULL, 0, 'pro')")
    columns = 'customer, status, CASE WHEN order_id < 25 THEN 1 END AS "bad-name"'
    sql = f"SELECT {columns} FROM orders ORDER BY order_id"

    shown = importing(**QUERY | {"sql": sql}, drop_invalid_properties=True).preview(limit=None)

    assert shown.examples[0] == {"uid": "u00", "properties": {"plan": "free"}}
    assert (shown.records, shown.invalid, shown.batches) == (27, 2, 1)
    lines = "\n".join(shown.lines())
    assert "customer -> uid: text" in lines
    assert " users as they would be sent:" in lines
    assert "uid is that of an earlier record of this import" in lines
    assert "neither uid nor id is given" in lines
    assert "left out: 25 x property 'bad-name'" in lines


@pytest.mark.parametrize("limit", [CHUNK_ROWS + 100, 2 * CHUNK_ROWS, 5 * CHUNK_ROWS])
def test_a_preview_refuses_users_who_come_again_much_later(limit: int) -> None:
    given = [{"uid": f"u{number % CHUNK_ROWS}"} for number in range(3 * CHUNK_ROWS)]

    shown = importing(users=given).preview(limit=limit)

    seen = min(limit, len(given))
    assert (shown.records, shown.invalid) == (seen, seen - CHUNK_ROWS)
    assert [record.position for record in shown.refused] == list(range(CHUNK_ROWS + 1, seen + 1))


# Syncs ----------------------------------------------------------------------------------------------------


#: The arguments of a sync without a watermark, which knows each user as a whole.
WHOLE = QUERY | {"parameters": None, "exclude_columns": (), "insert_id": "*"}


@pytest.mark.usefixtures("dead_runs_hold_a_sync_for_a_second")
class TestSyncs:
    @pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferrable"])
    def test_a_watermark_sends_what_is_new(
        self, tmp_path: Path, customers: Warehouse, emulator: EmulatorClient, deferrable: bool
    ) -> None:
        customers.execute("UPDATE orders SET updated_at = updated_at + 1")
        first = UsersRun(tmp_path, "run-1", deferrable=deferrable).attempt()
        customers.execute("UPDATE orders SET status = 'pro', updated_at = 100 WHERE customer = 'u03'")
        second = UsersRun(tmp_path, "run-2", deferrable=deferrable).attempt()

        assert (first["imported"], second["records"], second["imported"]) == (25, 1, 1)
        assert plans(emulator) == all_free() | {"u03": "pro"}

    @pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferrable"])
    def test_whole_records_as_insert_ids_send_only_users_who_changed(
        self, tmp_path: Path, customers: Warehouse, emulator: EmulatorClient, deferrable: bool
    ) -> None:
        whole = WHOLE | {"deferrable": deferrable}
        assert UsersRun(tmp_path, "run-1", **whole).attempt()["imported"] == 25
        before = len(emulator.jobs())
        same = UsersRun(tmp_path, "run-2", **whole).attempt()
        assert (same["imported"], same["skipped"], len(emulator.jobs())) == (0, 25, before)
        customers.execute("UPDATE orders SET status = 'pro' WHERE customer IN ('u03', 'u20')")

        changed = UsersRun(tmp_path, "run-3", **whole).attempt()

        assert (changed["records"], changed["imported"], changed["skipped"]) == (25, 2, 23)
        assert plans(emulator) == all_free() | {"u03": "pro", "u20": "pro"}

    @pytest.mark.parametrize("uri", [None, "/refused/"], ids=["no file", "file"])
    def test_a_refused_user_may_be_corrected_in_the_table(
        self, tmp_path: Path, customers: Warehouse, emulator: EmulatorClient, uri: str | None
    ) -> None:
        customers.execute("UPDATE orders SET customer = '' WHERE customer = 'u07'")
        whole = WHOLE | {"rejected_uri": uri and f"file://{tmp_path}{uri}"}

        message = failure_of(UsersRun(tmp_path, "run-1", **whole), FullStoryRecordsRefusedError)

        source = "orrect them in the source: the next run sends them, as does a clear of this task.\n"
        assert (f"\nC{source}" in message, f"\nOr c{source}" in message) == (uri is None, uri is not None)
        assert ("\nwith sync_name='dag.import' and insert_id='*':\n" in message) == (uri is not None)
        customers.execute("UPDATE orders SET customer = 'u07' WHERE customer = ''")
        assert UsersRun(tmp_path, "run-2", **whole).attempt()["imported"] == 1
        assert plans(emulator) == all_free()

    @pytest.mark.usefixtures("customers")
    def test_a_rejected_user_is_sent_until_it_is_accepted(
        self, tmp_path: Path, emulator: EmulatorClient
    ) -> None:
        emulator.order_rejection("uid", ["u07"], code="user_not_found")
        failure_of(UsersRun(tmp_path, "run-1", **WHOLE), FullStoryRecordsRefusedError)
        emulator.forget_rejections()

        report = UsersRun(tmp_path, "run-2", **WHOLE).attempt()

        assert (report["imported"], report["skipped"]) == (1, 24)
        assert plans(emulator) == all_free()

    @pytest.mark.usefixtures("customers")
    @pytest.mark.parametrize("moment", [entering(2), noting_job(2)], ids=["before", "after"])
    def test_the_next_run_settles_what_a_dead_one_left(
        self, tmp_path: Path, emulator: EmulatorClient, moment: Any
    ) -> None:
        crash(UsersRun(tmp_path, "run-1", **WHOLE, max_parallel_uploads=1), moment)

        report = UsersRun(tmp_path, "run-2", **WHOLE).attempt()

        assert (report["records"], report["imported"] + report["skipped"]) == (25, 25)
        assert report["skipped"] >= 10
        assert plans(emulator) == all_free()
        assert UsersRun(tmp_path, "run-3", **WHOLE).attempt()["skipped"] == 25
