"""What the log shows of refused records, and what a key below Architect knows of them."""

from __future__ import annotations

import datetime
import json
import logging
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from tests.refused_file import WAYS, check_file, files_below, in_the_task, in_the_triggerer, lines_of, source
from tests.tries import make_warehouse

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("short_waits")


@WAYS
@pytest.mark.parametrize("level", ["standard", "architect", "admin"])
def test_the_level_of_the_key_decides_what_is_known(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    tmp_path: Path,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
    import_in: Any,
    level: str,
) -> None:
    key = getattr(emulator, f"{level}_key")
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(key))
    invalid, rejected = {2, 21}, {1, 12, 25}
    with caplog.at_level(logging.INFO):
        report = import_in(context, events=source(25, invalid, rejected), batch_size=10, rejected_uri=uri)
    if level != "standard":
        check_file(report, emulator, 25, invalid, rejected)
        return
    counts = [report[name] for name in ("records", "imported", "invalid", "rejected")]
    assert counts == [25, 20, 2, 3]
    assert report["codes"] == {"required_field": 2}
    assert [line["refusal"]["position"] for line in lines_of(uri)] == [2, 21]
    assert {line["refusal"]["outcome"] for line in lines_of(uri)} == {"invalid"}
    assert "Architect" in caplog.text
    assert files_below(f"file://{tmp_path}/refused") == ["file.ndjson"]


@WAYS
def test_a_standard_key_leaves_no_file_of_nothing(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    import_in: Any,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    report = import_in(context, events=source(5, (), {2}), rejected_uri=uri)
    assert (report["rejected"], report["rejected_uri"]) == (1, None)
    assert files_below(f"file://{tmp_path}/refused") == []


# -- The log ----------------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("invalid", [set(), {1}])
def test_a_standard_key_is_told_what_it_lacks_and_not_to_set_what_is_set(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    import_in: Any,
    invalid: set[int],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    with pytest.raises(AirflowFailException) as caught:
        import_in(context, events=source(5, invalid, {2}), rejected_uri=uri, max_rejected=len(invalid))
    text = str(caught.value)
    assert "Which 1 record FullStory rejected, and why, could not be read:\n" in text
    assert "an API key of level Architect or above" in text
    assert "rejected_uri=" not in text
    assert (f"The invalid records are in {uri}." in text) == bool(invalid)


def logged(caplog: Any, capfd: Any) -> str:
    output = capfd.readouterr()
    return f"{caplog.text}\n{output.out}\n{output.err}"


SECRETS = {
    "text": "secret-note",
    "unicode": "geheim-ä-\u2028-x",
    "quoted": 'se"cret\\note',
    "number": 987654321,
    "decimal": Decimal("98765.4320"),
    "float": 9.87654e22,
    "inner": {"deep": ["secret-inner-1", "secret-inner-2"]},
    "date": datetime.date(2031, 12, 13),
    "moment": datetime.datetime(2031, 12, 13, 14, 15, 16, tzinfo=datetime.UTC),
}


def spellings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in spellings(item)]
    if isinstance(value, list):
        return [text for item in value for text in spellings(item)]
    if isinstance(value, float):
        return [str(value), "9.87654e22", "9.87654E+22"]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return [value.isoformat(), "2031-12-13"]
    return [str(value), json.dumps(str(value))[1:-1]]


@WAYS
@pytest.mark.parametrize("has_file", [False, True])
def test_no_value_is_in_the_log(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    caplog: Any,
    capfd: Any,
    import_in: Any,
    has_file: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    base = {"user.uid": "secret-uid", **SECRETS}
    events = [
        {"name": "Secretname", **base, "only_fullstory_refuses": True},
        {"name": "Secretname", **base, "bad": math.nan},
        base,
        {"name": "Secretname", **base, "user.id": "secret-id"},
        {"name": "Secretname", **base, "timestamp": "secret-time"},
        "secret-record",
        ["secret-list"],
        {"name": "Secretname", **base, "only_fullstory_refuses": True},
    ]
    report = import_in(context, events=iter(events), **({"rejected_uri": uri} if has_file else {}))
    assert (report["invalid"], report["rejected"]) == (6, 2)
    seen = logged(caplog, capfd)
    for text in ["secret", "Secretname", *(text for value in SECRETS.values() for text in spellings(value))]:
        assert text not in seen


MESSAGES = {
    "text": "the note secret-note is bad",
    "quoted text": "the note 'secret-note' is bad",
    "decimal digit by digit": "the price 98765.4320 is bad",
    "decimal as a float": "the price 98765.432 is bad",
    "float": "the float 9.87654e22 is bad",
    "float as Python has it": "the float 9.87654e+22 is bad",
    "JSON of text": r"the text se\"cret\\note is bad",
    "name": "the event Secretname is unknown",
    "date": "the date 2031-12-13 is too late",
    "shared": "the page https://secret-page is unknown",
}


#: What FullStory may make of a value before it repeats it.
CHANGED = {
    "text within a word": "no such thing: xsecret-notex",
    "beginning of a text": "the note secret-no... is too long",
    "text in capitals": "no such note: SECRET-NOTE",
}


@pytest.mark.parametrize("message", [*MESSAGES, *CHANGED])
def test_a_value_that_fullstory_repeats_is_not_in_the_log(
    emulator: EmulatorClient, context: Any, caplog: Any, capfd: Any, message: str
) -> None:
    caplog.set_level(logging.INFO)
    emulator.forget_rejections()
    emulator.order_rejection("properties.only_fullstory_refuses", message=(MESSAGES | CHANGED)[message])
    event = {"name": "Secretname", "user.uid": "u", "only_fullstory_refuses": True, **SECRETS}
    shared = {"context": {"browser": {"url": "https://secret-page"}}}
    report = in_the_task(context, events=[event], shared=shared)
    assert report["rejected"] == 1
    seen = logged(caplog, capfd)
    assert "Rejected by FullStory" in seen
    for text in ("secret", "SECRET", "Secret", "98765", "9.87654", "2031-12-13", "cret"):
        assert text not in seen


@WAYS
def test_five_of_each_kind_are_shown_and_all_are_counted(
    emulator: EmulatorClient, context: Any, caplog: Any, capfd: Any, import_in: Any
) -> None:
    caplog.set_level(logging.INFO)
    emulator.configure(page_size=3)
    invalid, rejected = set(range(2, 26, 3)), set(range(1, 25, 3))
    report = import_in(context, events=source(25, invalid, rejected), batch_size=10)
    assert report["codes"] == {"required_field": 8, "user_not_found": 8}
    seen = logged(caplog, capfd)
    lines = caplog.text.splitlines()
    assert sum("Not sent: record" in line for line in lines) == 5
    assert sum("Rejected by FullStory: a record" in line for line in lines) == 5
    for code in ("required_field: name is missing; ", "user_not_found, says FullStory"):
        assert re.search(rf"reason +8  {code}", logged(caplog, capfd) + seen)


@WAYS
def test_values_are_shown_where_they_are_asked_for(
    emulator: EmulatorClient, context: Any, caplog: Any, import_in: Any
) -> None:
    caplog.set_level(logging.INFO)
    import_in(context, events=source(3, {1}, {2}), log_values=True)
    assert '"uid":"u1"' in caplog.text
    assert '"uid":"u2"' in caplog.text


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"record_key": "number"}, "number"),
        ({"record_key": ["number"]}, "number"),
        ({"record_key": "Number", "mapping": {"properties.nr": "NUMBER"}}, "Number"),
        ({"record_key": "NUMBER"}, "NUMBER"),
        ({"record_key": "User.UID"}, "User.UID"),
    ],
)
@pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer])
def test_key_columns_name_the_record(
    *,
    emulator: EmulatorClient,
    context: Any,
    uri: str,
    caplog: Any,
    database: Path,
    import_in: Any,
    arguments: dict[str, Any],
    name: str,
) -> None:
    """Columns are found without case everywhere, since databases fold their names."""
    caplog.set_level(logging.INFO)
    make_warehouse(database, 3, start=71)
    emulator.order_rejection("properties.number", [72], code="user_not_found")
    emulator.order_rejection("properties.nr", [72], code="user_not_found")
    sql = """SELECT number, 'u' || number AS "user.uid", CASE number WHEN 71 THEN NULL ELSE 'Order' END
    AS name FROM orders ORDER BY number"""
    report = import_in(context, sql=sql, sql_conn_id="warehouse", rejected_uri=uri, **arguments)
    assert (report["invalid"], report["rejected"]) == (1, 1)
    values = ["u71", "u72"] if name == "User.UID" else [71, 72]
    assert [line["refusal"]["key"] for line in lines_of(uri)] == [{name: value} for value in values]
    assert f"Not sent: record 1 ({name}={values[0]!r})" in caplog.text


def test_key_columns_name_the_record_in_the_log_too(
    emulator: EmulatorClient, context: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    emulator.order_rejection("properties.number", [2])
    in_the_task(context, events=source(3, {1}), record_key=["number", "user.uid"])
    assert "Not sent: record 1 (number=1, user.uid='u1')" in caplog.text
    assert "(number=2, user.uid='u2')" in caplog.text
