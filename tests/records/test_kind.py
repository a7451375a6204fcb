"""A field of a wire type, and a kind of records, are each declared in one place: all else follows."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from msgspec import UNSET, UnsetType

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.api.events import Context, Event, Shared
from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.api.request_parts import Properties, RequestPart
from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
from airflow_provider_fullstory.batch_import.ledger.stores import MemoryStore
from airflow_provider_fullstory.batch_import.reporting.preview import preview
from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.batch_import.reporting.rejections import rejections
from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.batch_import.sending.sender import Sender
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.emulator.rules import bodies
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.records import kinds
from airflow_provider_fullstory.records.kind import Identity, RecordKind
from airflow_provider_fullstory.records.kinds import EVENTS, USERS, kind_of
from airflow_provider_fullstory.records.limits import Limits
from airflow_provider_fullstory.records.mapping import map_records, map_rows, shared_part, targets_of_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.redaction import redacted
from airflow_provider_fullstory.records.refusals import REQUIRED_FIELD
from airflow_provider_fullstory.records.rules import Rule
from tests.records.sending import read_refused

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.emulator.client import EmulatorClient

# A field that is added to a struct ------------------------------------------------------------------------


class Campaign(RequestPart):
    name: str | UnsetType = UNSET
    cost: float | UnsetType = UNSET
    began: datetime.datetime | UnsetType = UNSET


class WiderContext(Context):
    campaign: Campaign | UnsetType = UNSET


class WiderEvent(Event):
    context: WiderContext | UnsetType = UNSET
    score: int | UnsetType = UNSET


WIDER = dataclasses.replace(EVENTS, struct=WiderEvent)


class WiderEventOfTheEmulator(bodies.Event):
    """The event of an emulator that knows the fields, and still refuses all others."""

    context: dict[str, Any] | None = None
    score: int | None = None


@pytest.fixture
def wider(emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    """Add the fields to the emulator and to the package: to the latter by the struct alone."""
    monkeypatch.setattr(bodies, "Event", WiderEventOfTheEmulator)
    monkeypatch.setattr(kinds, "EVENTS", WIDER)
    return emulator


ROWS = [
    {
        "name": "A",
        "user.uid": f"u{number}",
        "context.campaign.name": "spring",
        "CONTEXT.campaign.COST": Decimal("1.50"),
        "context.campaign.began": "2026-01-01T01:00:00+01:00",
        "score": number,
        "plan": "pro",
    }
    for number in range(3)
]
SENT = [
    {
        "name": "A",
        "user": {"uid": f"u{number}"},
        "context": {"campaign": {"name": "spring", "cost": 1.5, "began": "2026-01-01T00:00:00Z"}},
        "properties": {"plan": "pro"},
        "score": number,
    }
    for number in range(3)
]


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    return FullStoryImportEventsOperator(task_id="import", poll_interval=0.01, **arguments)


def test_a_field_that_is_added_to_a_struct_arrives(wider: EmulatorClient, context: Any) -> None:
    nested = {**SENT[0], "user": {"uid": "u3"}, "score": 3}

    report = importing(events=[*ROWS, nested]).execute(context)

    assert (report["imported"], report["rejected"], report["invalid"]) == (4, 0, 0)
    assert [line["event"] for line in wider.events()] == [*SENT, nested]


def test_an_emulator_that_does_not_know_the_field_rejects_it(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "EVENTS", WIDER)

    report = importing(events=ROWS, max_rejected=3).execute(context)

    assert (report["imported"], report["rejected"]) == (0, 3)


def test_it_is_previewed(wider: EmulatorClient) -> None:
    shown = importing(events=ROWS).preview()

    assert shown.examples == SENT
    assert {column.field: column.type for column in shown.mapping} == {
        "name": "text",
        "user.uid": "text",
        "context.campaign.name": "text",
        "context.campaign.cost": "number",
        "context.campaign.began": "timestamp",
        "score": "whole number",
        "properties.plan": "str",
    }


def test_it_is_checked_written_down_found_again_and_sent_once_fixed(
    wider: EmulatorClient, context: Any, make_context: Any, tmp_path: Path
) -> None:
    uri = f"file://{tmp_path}/refused.ndjson"
    bad = [ROWS[0] | {"score": "many"}, ROWS[0] | {"context.campaign.began": float("inf")}]
    wider.order_rejection("score", [1], code="user_not_found")

    report = importing(events=[*bad, *ROWS], rejected_uri=uri, max_rejected=3).execute(context)

    assert (report["imported"], report["rejected"], report["invalid"]) == (2, 1, 2)
    lines = [json.loads(line) for line in (tmp_path / "refused.ndjson").read_text().splitlines()]
    assert [line["refusal"]["position"] for line in lines] == [1, 2, 4]
    assert lines[0]["event"] == SENT[0] | {"score": "many"}
    assert lines[0]["refusal"]["message"] == "score must be a whole number, not str"
    assert lines[1]["event"]["context"]["campaign"]["began"] == {"$float": "inf"}
    assert lines[2]["event"] == SENT[1]

    wider.reset()
    lines[0]["event"]["score"] = 0
    lines[1]["event"]["context"]["campaign"]["began"] = "2026-01-01T00:00:00Z"
    (tmp_path / "fixed.ndjson").write_text("\n".join(map(json.dumps, lines)))
    again = importing(events=f"file://{tmp_path}/fixed.ndjson").execute(make_context(run_id="again"))

    assert again["imported"] == 3
    assert [line["event"] for line in wider.events()] == [SENT[0], SENT[0], SENT[1]]


def test_a_field_that_is_added_to_what_is_shared_is_checked_and_sent() -> None:
    class WiderShared(Shared):
        score: int | UnsetType = UNSET

    made = MappingOptions(dataclasses.replace(WIDER, shared=WiderShared), name="A")

    assert ENCODER.encode(shared_part({"score": Decimal(5)}, made)) == b'{"score":5}'
    with pytest.raises(FullStoryInputError, match="score must be a whole number, not str"):
        shared_part({"score": "many"}, made)
    both = dataclasses.replace(made, shared=shared_part({"score": 5}, made))
    with pytest.raises(FullStoryMappingError, match="column 'score' goes to 'score', which is in shared too"):
        map_rows(["user.uid", "score"], [], both)


def test_a_field_of_a_type_without_a_conversion_is_refused_by_name() -> None:
    class Odd(Event):
        odd: bytes | UnsetType = UNSET

    with pytest.raises(TypeError, match=r"\(odd\)"):
        _ = dataclasses.replace(EVENTS, struct=Odd).fields


@pytest.mark.parametrize("kind", [EVENTS, WIDER])
def test_records_are_built_in_the_order_of_their_fields(kind: RecordKind) -> None:
    assert {path: struct.__struct_fields__ for path, struct in kind.structs.items()} == kind.members
    assert kind.property_roots.keys() | kind.schema_roots <= set(kind.members[()])


# A kind of its own ----------------------------------------------------------------------------------------


class Account(RequestPart):
    """Small, but with all that a kind can be without: it has no name, no timestamp, and shares nothing."""

    id: str | UnsetType = UNSET
    uid: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    properties: Properties | UnsetType = UNSET
    schema: Properties | UnsetType = UNSET


NOBODY = Rule(REQUIRED_FIELD, "uid and id are both missing; fill one of them", "this test")
ACCOUNTS = RecordKind(
    resource=Resource.USERS,
    noun="user",
    struct=Account,
    property_roots={"properties": "schema"},
    limits={"email": Limits("this test", longest=20)},
    identity=Identity(("uid", "id"), lambda given: None if given else NOBODY, NOBODY),
)
COLUMNS = ["UID", "email", "plan", "seats"]
TABLE = [
    ("u1", "a@example.com", "pro", 5),
    ("u2", "e" * 21, "pro", 5),
    (None, "c@example.com", "free", None),
    ("u4", "d@example.com", "pro", 7),
    ("u5", None, None, None),
]
UIDS = ["u1", "u4", "u5"]


def options(**given: Any) -> MappingOptions:
    return MappingOptions(ACCOUNTS, **given)


def no_quota() -> None:
    raise AssertionError("Records that do not count against the quota need none.")


class Accounts:
    """An import of accounts, from rows to the file of those that are refused."""

    def __init__(self, folder: Path) -> None:
        place = ObjectStoragePath(f"file://{folder}")
        self.file = RefusedFile(
            ACCOUNTS, Folder(place, "rejected_uri"), "a.ndjson", "one", f"{place}/a.ndjson"
        )
        self.log = RefusalLog(ACCOUNTS, options(record_key=["uid"]).key_paths(), shows_records=True,
                              shows_values=False)  # fmt: skip

    def run(self, chunks: Any, made: MappingOptions) -> ImportReport:
        with FullStoryHook() as hook, self.file.claimed():
            importer = Importer(
                Ledger(MemoryStore()),
                hook.imports(made.kind.resource),
                max_parallel_uploads=1,
                max_outstanding_records=10,
                poll_interval=0.01,
                deadline=time.time() + 60,
            )
            sender = Sender(
                RunIdentity("dag", "run", "task"),
                BatchLimits(),
                made,
                importer,
                self.log,
                refused=self.file,
                remaining_quota=no_quota,
            )
            report, _ = sender.streamed(chunks)
            outcomes = importer.wait(report.job_ids)
            if not report.invalid + sum(outcome.errors for outcome in outcomes):
                report.rejected_uri = None
            report.finish(outcomes)
            rejected = list(rejections(hook.imports(report.resource), outcomes, is_required=True))
        for job_id, records in rejected:
            report.add_rejected(records)
            self.log.rejected(job_id, records)
        self.file.add_rejected(rejected, report.invalid)
        self.file.release()
        return report


def uids(emulator: EmulatorClient) -> list[str]:
    return sorted(line["user"]["uid"] for line in emulator.users())


def test_a_third_kind_goes_all_the_way(emulator: EmulatorClient, tmp_path: Path, caplog: Any) -> None:
    made = options(record_key=["uid"])
    emulator.order_rejection("uid", ["u4"], code="user_not_found", message="unknown")

    report = Accounts(tmp_path).run(map_rows(COLUMNS, [TABLE], made), made)

    assert uids(emulator) == ["u1", "u5"]
    assert (report.resource, report.records, report.imported) == ("users", 5, 2)
    assert type(report.to_xcom()["resource"]) is str
    assert (report.invalid, report.rejected, report.without_timestamp) == (2, 1, 0)
    assert report.codes == {"invalid_parameter": 1, "required_field": 1, "user_not_found": 1}
    lines = list(map(json.loads, (tmp_path / "a.ndjson").read_text().splitlines()))
    assert [line["user"] for line in lines] == [
        {"uid": "u2", "email": "e" * 21, "properties": {"plan": "pro", "seats": 5},
         "schema": {"properties": {"seats": "int"}}},
        {"email": "c@example.com", "properties": {"plan": "free"}},
        {"uid": "u4", "email": "d@example.com", "properties": {"plan": "pro", "seats": 7},
         "schema": {"properties": {"seats": "int"}}},
    ]  # fmt: skip
    assert [line["refusal"]["position"] for line in lines] == [2, 3, 4]
    assert [line["refusal"]["key"] for line in lines] == [{"uid": "u2"}, {"uid": None}, {"uid": "u4"}]
    assert lines[0]["refusal"]["message"] == "email is longer than 20 characters"
    assert lines[1]["refusal"]["message"] == NOBODY.says
    assert "record 2 (uid='u2'): email is longer" in caplog.text
    assert "a record (uid='u4'): user_not_found" in caplog.text
    assert '"email":"<str>"' in caplog.text
    assert "example.com" not in caplog.text


def test_its_refused_file_is_read_back(emulator: EmulatorClient, tmp_path: Path) -> None:
    made = options()
    Accounts(tmp_path).run(map_rows(COLUMNS, [TABLE], made), made)
    file = tmp_path / "a.ndjson"
    [as_it_is] = map_records(read_refused(f"file://{file}", ACCOUNTS), made)
    assert (len(as_it_is.records), len(as_it_is.invalid)) == (0, 2)

    file.write_text(file.read_text().replace("e" * 21, "b@example.com"))
    anybody = options(allow_anonymous=True)
    records = read_refused(f"file://{file}", ACCOUNTS)
    report = Accounts(tmp_path / "again").run(map_records(records, anybody), anybody)

    assert (report.imported, report.invalid, report.rejected) == (2, 0, 0)
    [user] = [line["user"] for line in emulator.users() if line["user"].get("uid") == "u2"]
    assert (user["email"], user["properties"]) == ("b@example.com", {"plan": "pro", "seats": 5})


def test_it_is_previewed_by_its_own_word() -> None:
    made = options()
    chunks, targets = map_rows(COLUMNS, [TABLE], made), targets_of_rows(COLUMNS, made)

    shown = preview("a table", targets, chunks, options=made, limits=BatchLimits(), limit=None)

    assert [account["uid"] for account in shown.examples] == UIDS
    lines = list(shown.lines())
    assert "The first 3 users as they would be sent:" in lines
    assert "  UID -> uid: text" in lines
    assert "  seats -> properties.seats: int" in lines


def test_it_is_mapped_by_its_own_fields() -> None:
    with pytest.raises(FullStoryMappingError, match=r"do not make users:\n.*users have no field 'user\.uid'"):
        map_rows(["user.uid"], [], options())
    with pytest.raises(FullStoryMappingError, match="users have no name"):
        map_rows(["uid"], [], options(name="A"))
    with pytest.raises(FullStoryInputError, match="users can share only nothing"):
        shared_part({"user": {"uid": "u"}}, options())
    # What is a field of an event is a property here.
    [chunk] = map_rows(["uid", "name", "timestamp"], [[("u", "n", None)]], options())
    assert msgspec.to_builtins(chunk.records) == [{"uid": "u", "properties": {"name": "n"}}]


def test_a_kind_is_found_by_its_resource() -> None:
    assert [kind_of("events"), kind_of("users")] == [EVENTS, USERS]
    assert EVENTS.counts_against_quota
    record = {"uid": "u", "schema": {"properties": {"seats": "int"}}}
    assert redacted(USERS, record) == record | {"uid": "<str>"}
