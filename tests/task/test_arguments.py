"""Arguments are checked before anything is read or sent, and text from templates is understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

EVENTS = [{"name": "A", "user.uid": "u"}]
BOOLEANS = (
    "allow_anonymous",
    "durable",
    "skip_if_empty",
    "log_values",
    "check_quota",
    "wait_for_completion",
    "deferrable",
)


def refusal(context: Any, **arguments: Any) -> str:
    """Return the message of an import that fails without a retry."""
    with pytest.raises(AirflowFailException) as caught:
        FullStoryImportEventsOperator(**{"task_id": "import", **arguments}).execute(context)
    assert isinstance(caught.value, FullStoryInputError)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "maybe") for name in BOOLEANS),
        *(("timeout", value) for value in (float("nan"), "nan", float("inf"), 0, -1, 10**400, "x")),
        *(("poll_interval", value) for value in (float("nan"), -1, 10**400, None)),
        *(("max_rejected", value) for value in (-1, 1.0, "1.5", True, None, "some")),
        *(("batch_size", value) for value in (0, True, 1.5, "many", 50_001)),
        *(("mapping", value) for value in (["user.uid"], "user.uid", {"user.uid": None})),
        *(("schema", value) for value in ("{'a': 'int'}", ["a"])),
        *(("shared", value) for value in ("user", [1])),
        *(("record_key", value) for value in (5, [None], None)),
        *((name, "retry") for name in ("on_ambiguous", "on_source_change")),
        *(("rejected_uri", value) for value in ("", 5)),
        ("hook_params", ["a"]),
        ("timezone", ""),
        ("timezone", "x" * 5000),
        ("min_records", -1),
        ("idempotency_salt", 1),
        ("event_name", 5),
        ("fullstory_conn_id", ""),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_sent(
    emulator: EmulatorClient, context: Any, name: str, value: Any
) -> None:
    message = refusal(context, events=EVENTS, **{name: value})

    assert message.startswith(f"{name} is ")
    assert "it must be " in message
    assert len(message) < 400
    assert emulator.requests() == []


def test_all_wrong_arguments_are_named_at_once(emulator: EmulatorClient, context: Any) -> None:
    message = refusal(context, events=EVENTS, timeout=0, batch_size=0)
    assert "timeout is 0" in message
    assert "batch_size is 0" in message


def test_text_of_rows_is_not_repeated(emulator: EmulatorClient, context: Any) -> None:
    rows = [{"user.uid": "somebody-special"}]
    for value in (rows, json.dumps(rows)):
        assert "somebody-special" not in refusal(context, events=EVENTS, schema=value)


@pytest.mark.parametrize("text", ["false", "False", "0"])
def test_text_of_a_boolean_is_a_boolean(emulator: EmulatorClient, context: Any, text: str) -> None:
    message = refusal_of_records(context, events=[{"name": "A"}], allow_anonymous=text)
    assert "1 of 1 records is not in FullStory" in message
    assert emulator.events() == []


def refusal_of_records(context: Any, **arguments: Any) -> str:
    with pytest.raises(AirflowFailException) as caught:
        FullStoryImportEventsOperator(task_id="import", **arguments).execute(context)
    return str(caught.value)


def test_text_of_numbers_is_understood(emulator: EmulatorClient, context: Any) -> None:
    report = FullStoryImportEventsOperator(
        task_id="import",
        events=[*EVENTS * 3, {"name": "B"}],
        batch_size="2",
        max_rejected="0.5",
        timeout="60",
        allow_anonymous="False",
        wait_for_completion="true",
    ).execute(context)
    assert (report["imported"], report["invalid"], report["batches"]) == (3, 1, 2)


class DataFrame:
    """Iterates over the names of its columns, which are attributes too, as the one of pandas does."""

    def __init__(self, **columns: Any) -> None:
        self.__dict__.update(columns)

    def __iter__(self) -> Any:
        return iter(self.__dict__)


@pytest.mark.parametrize(
    "events",
    [
        DataFrame(uid=["u"], n=[1]),
        DataFrame(uid=["u"], open=[1]),
        ["a", "b"],
        [1, 2],
        [None],
        (number for number in range(10_000)),
        [{"name": "A", "user.uid": "u"}, "s3://bucket/a.jsonl"],
        ["s3://bucket/a.jsonl", {"name": "A", "user.uid": "u"}],
    ],
)
def test_what_is_no_records_is_never_refused_records(
    emulator: EmulatorClient, context: Any, events: Any
) -> None:
    assert refusal(context, events=events, max_rejected=10**6).startswith("events ")
    # Whose key it is may be asked for before a source is opened; nothing else is.
    assert {request["path"] for request in emulator.requests()} <= {"/me"}


def test_one_thing_among_records_is_refused_as_a_record(emulator: EmulatorClient, context: Any) -> None:
    report = FullStoryImportEventsOperator(task_id="import", events=["odd", *EVENTS], max_rejected=1).execute(
        context
    )
    assert (report["imported"], report["invalid"]) == (1, 1)


def test_text_of_rows_that_hold_a_uri_is_no_path(emulator: EmulatorClient, context: Any) -> None:
    rows = json.dumps([{"user.uid": "somebody-special", "context.browser.url": "https://shop.example/a"}])
    message = refusal(context, events=rows)
    assert "events is text" in message
    assert "somebody-special" not in message


def test_templates_inside_literal_records_are_refused(emulator: EmulatorClient, context: Any) -> None:
    operator = FullStoryImportEventsOperator(
        task_id="import", events=[{"name": "A", "user": {"uid": "{{ run_id }}"}}]
    )
    operator.render_template_fields({"run_id": "run"})
    with pytest.raises(AirflowFailException, match="events holds a template"):
        operator.execute(context)
    assert emulator.requests() == []


def test_braces_in_the_output_of_a_task_are_data(emulator: EmulatorClient, make_context: Any) -> None:
    events = [{"name": "{{ A }}", "user.uid": "u"}]
    # As Airflow assigns what a template field refers to.
    operator = FullStoryImportEventsOperator(task_id="import")
    operator.events = events
    assert operator.execute(make_context(run_id="resolved"))["imported"] == 1
    # A mapped task is created again from what it is given, then rendered.
    operator = FullStoryImportEventsOperator(task_id="import", events=events)
    operator.render_template_fields({})
    assert operator.execute(make_context(run_id="mapped", map_index=0))["imported"] == 1


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1; SELECT 2", "SELECT 1;\n-- the rest\nWITH a AS (SELECT 2) SELECT * FROM a;", ["SELECT 1"], ""],
)
def test_sql_is_one_statement(emulator: EmulatorClient, context: Any, database: Path, sql: Any) -> None:
    message = refusal(context, sql=sql, sql_conn_id="warehouse")
    assert message.startswith("sql ")
    assert "it must be one SELECT" in message
    assert not database.exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'u' AS \"user.uid\", ';' AS a;",
        "SELECT 'u' AS \"user.uid\", 'x; SELECT 1' AS a; -- SELECT 2;",
        "/* one; SELECT two; */ SELECT 'u' AS \"user.uid\";;",
        "-- it's; SELECT 1\nSELECT 'it''s; select' AS \"user.uid\"",
    ],
)
def test_semicolons_that_end_no_statement(
    emulator: EmulatorClient, context: Any, database: Path, sql: str
) -> None:
    operator = FullStoryImportEventsOperator(
        task_id="import", sql=sql, sql_conn_id="warehouse", event_name="A"
    )
    operator._source(operator._checked_arguments()).check()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resource": "people"}, "resource is 'people'; it must be 'events' or 'users'"),
        ({"log_values": "maybe"}, "log_values is 'maybe'"),
        ({"max_rejected": "1.5"}, "max_rejected is '1.5'"),
        ({"job_ids": "two words"}, "job_ids must be"),
        ({"job_ids": "{'resource': 'events', 'job_ids': ['J']}"}, "job_ids is text that a template made"),
        ({"job_ids": "['J']"}, "job_ids is text that a template made"),
        ({"rejected_uri": "carrier-pigeon://loft/a.ndjson"}, "rejected_uri is 'carrier-pigeon://"),
    ],
)
def test_the_sensor_asks_nothing_with_wrong_arguments(
    emulator: EmulatorClient, context: Any, arguments: dict[str, Any], words: str
) -> None:
    sensor = FullStoryImportJobSensor(**{"task_id": "wait", "job_ids": "job", **arguments})
    with pytest.raises(AirflowFailException) as caught:
        sensor.poke(context)
    assert words in str(caught.value)
    assert emulator.requests() == []


def test_the_sensor_reads_a_report_as_json(emulator: EmulatorClient, make_context: Any) -> None:
    submit = FullStoryImportEventsOperator(task_id="import", events=EVENTS, wait_for_completion="false")
    report = submit.execute(make_context())
    sensor = FullStoryImportJobSensor(task_id="wait", job_ids=json.dumps(report), max_rejected="0")
    assert sensor.execute(make_context())["imported"] == 1
