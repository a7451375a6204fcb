"""Which record of the source an echo is, whatever the record holds and wherever it was in its batch."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from airflow_provider_fullstory.api import http, jobs
from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.batch_import.batching.batch import Batch, BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.batch_import.reporting.fingerprints import FingerprintFolder, SentImport
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records, shared_part
from airflow_provider_fullstory.records.options import MappingOptions
from tests.records.test_mapping_any_rows import indexed, records, values

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

RUN = RunIdentity("dag", "run", "task")
ODD = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Memory(dict[str, bytes]):
    """A folder that is nowhere."""

    def write(self, name: str, content: bytes) -> None:
        self[name] = content

    def read(self, name: str) -> bytes | None:
        return self.get(name)

    def remove(self, name: str) -> None:
        for key in [key for key in self if key.startswith(f"{name}/")]:
            del self[key]


def sent(
    found: Iterable[Any], folder: Memory, limits: BatchLimits | None = None, **options: Any
) -> tuple[list[Batch], list[Any]]:
    """Return batches whose fingerprints are kept, and the invalid records."""
    made = MappingOptions(EVENTS, **({"allow_anonymous": True} | options))
    refused: list[Any] = []
    batcher = Batcher(RUN, limits or BatchLimits(), made, refused.extend, keeps_fingerprints=True)
    fingerprints = FingerprintFolder(folder, "file")  # type: ignore[arg-type]
    return list(fingerprints.kept(batcher.batches(map_records(found, made)))), refused


def echoes_of(body: bytes) -> list[Any]:
    """Return the records of a body as they come back in FullStory's answer."""
    requests = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["requests"]
    raw = msgspec.json.decode(requests, type=list[msgspec.Raw])
    page = b'{"results":[' + b",".join(b'{"event":' + bytes(event) + b"}" for event in raw) + b"]}"
    call = jobs.errors_page(Resource.EVENTS, "job")
    answer = call.result(http.Response(200, {}, page))
    return [error.event for error in answer.results]


def positions(folder: Memory, batch: str, echoes: Sequence[Any]) -> list[int | None]:
    return FingerprintFolder(folder, "file").positions(EVENTS, batch, echoes)  # type: ignore[arg-type]


def positions_of(folder: Memory, batch: Batch) -> list[int | None]:
    return positions(folder, batch.name, echoes_of(bytes(batch.body)))


@ODD
@given(
    st.lists(records, max_size=12),
    st.builds(BatchLimits, records=st.integers(1, 6), bytes=st.integers(200, 4000)),
    st.randoms(use_true_random=False),
)
def test_any_record_is_found_by_its_echo(found: list[Any], limit: BatchLimits, order: random.Random) -> None:
    folder = Memory()
    batches, refused = sent(indexed(found), folder, limit, name="Odd")
    seen = [record.position for record in refused]
    for batch in batches:
        echoes = echoes_of(bytes(batch.body))
        order.shuffle(echoes)
        expected = [int(echo["page_properties"]["index"]) for echo in echoes]
        assert positions(folder, batch.name, echoes) == expected
        seen += expected
    assert sorted(seen) == list(range(1, len(found) + 1))


@ODD
@example({"a": Decimal("-0")})
@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), values, max_size=6))
def test_any_values_are_found_by_their_echo(properties: dict[str, Any]) -> None:
    folder = Memory()
    batches, _ = sent([{"x": 1}, {"properties": properties}, {"x": 2}], folder, name="Odd")
    [batch] = batches
    echoes = echoes_of(bytes(batch.body))
    places = [1, 2, 3] if len(echoes) == 3 else [1, 3]
    assert positions(folder, "1", echoes) == places


NUMBERS = {
    "a float with an exponent": {"x": 1e22},
    "a decimal with an exponent": {"x": Decimal("1E+3")},
    "digits of a decimal, exponent of a float": {"x": Decimal("11.10"), "y": 1e22},
    "many of them": {"x": Decimal("11.10"), "y": 1.5e-7, "z": [Decimal("1.0"), 1e300]},
    "digits of a decimal, a small float": {"x": Decimal("11.10"), "y": 1.5e-6},
    "digits of a decimal, a large float": {"x": Decimal("11.10"), "y": 1.2345678901234568e16},
    "both with an exponent": {"x": Decimal("1E+3"), "y": 1e22},
    "both with a negative exponent": {"x": Decimal("1E-9"), "y": 1e-9},
    "zeros": {"x": {"a": Decimal("0E+3")}, "y": -0.0, "z": Decimal("-0.00")},
    "digits of a decimal with an exponent": {"x": Decimal("1.50E+20"), "y": 1.0},
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_numbers_are_found_by_their_echo(numbers: str) -> None:
    folder = Memory()
    found = [{"name": "A", **NUMBERS[numbers], "place": place} for place in range(3)]
    [batch], _ = sent(found, folder)
    assert positions(folder, "1", echoes_of(bytes(batch.body))) == [1, 2, 3]


@ODD
@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30), st.integers(1, 7), st.data())
def test_equal_records_are_each_taken_once(names: list[str], size: int, data: st.DataObject) -> None:
    folder = Memory()
    batches, _ = sent([{"name": name} for name in names], folder, BatchLimits(records=size))
    for index, batch in enumerate(batches):
        echoes = echoes_of(bytes(batch.body))
        chosen = sorted(data.draw(st.sets(st.integers(0, len(echoes) - 1))))
        found = positions(folder, batch.name, [echoes[place] for place in chosen])
        assert len(set(found)) == len(found)
        for place, position in zip(chosen, found, strict=True):
            assert position is not None
            assert index * size < position <= index * size + batch.records
            assert names[position - 1] == echoes[place]["name"]
        if len(chosen) == len(echoes):
            assert found == list(range(index * size + 1, index * size + 1 + batch.records))


@ODD
@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=2, max_size=24), st.data())
def test_halves_share_the_places_of_their_batch(names: list[str], data: st.DataObject) -> None:
    folder = Memory()
    [batch], _ = sent([{"name": name} for name in names], folder)
    parts, fingerprints = [batch], FingerprintFolder(folder, "file")  # type: ignore[arg-type]
    while any(part.records > 3 for part in parts):
        parts = [half for part in parts for half in (part.split() if part.records > 3 else (part,))]
    found: list[int | None] = []
    for part in parts:
        found += fingerprints.positions(EVENTS, part.name, echoes_of(bytes(part.body)))
    assert found == list(range(1, len(names) + 1))


def test_pages_of_a_job_go_on_where_the_last_one_ended() -> None:
    folder = Memory()
    [batch], _ = sent([{"name": "a"}] * 10, folder)
    fingerprints = FingerprintFolder(folder, "file")  # type: ignore[arg-type]
    echoes = echoes_of(bytes(batch.body))
    found = [
        position
        for start in range(0, 10, 3)
        for position in fingerprints.positions(EVENTS, "1", echoes[start : start + 3])
    ]
    assert found == list(range(1, 11))


def test_refused_records_leave_gaps() -> None:
    folder = Memory()
    found = [5, {"name": "a"}, {"x": float("nan")}, {"name": "b"}, None, {"name": "c"}, {"name": "a"}]
    batches, refused = sent(found, folder, BatchLimits(records=2))
    assert [record.position for record in refused] == [1, 3, 5]
    assert [positions_of(folder, batch) for batch in batches] == [
        [2, 4],
        [6, 7],
    ]


def test_a_record_that_is_too_large_leaves_a_gap() -> None:
    folder = Memory()
    found = [{"name": "a"}, {"name": "b" * 500}, {"name": "c"}, {"name": "d"}]
    batches, refused = sent(found, folder, BatchLimits(records=2, bytes=100))
    assert [record.position for record in refused] == [2]
    assert [positions_of(folder, batch) for batch in batches] == [[1], [3, 4]]


@pytest.mark.parametrize(
    ("shared", "own"),
    [
        ({"user": {"uid": "u"}}, {"session.use_most_recent": True}),
        ({"session": {"use_most_recent": True}}, {"user.uid": "u"}),
        ({"user": {"uid": "u"}}, {}),
        ({"page_properties": {"p": 1}}, {"properties.p": 1}),
        ({"context": {"location": {"country": "DE"}}}, {"user.id": "i"}),
    ],
)
def test_what_is_shared_does_not_hide_a_record(shared: dict[str, Any], own: dict[str, Any]) -> None:
    folder = Memory()
    options = MappingOptions(EVENTS, allow_anonymous=True)
    part = shared_part(shared, options)
    found = [{"name": "A", "number": number} | own for number in range(3)]
    [batch], refused = sent(found, folder, shared=part)
    assert not refused
    assert positions(folder, "1", echoes_of(bytes(batch.body))) == [1, 2, 3]


@pytest.mark.parametrize(
    "schema", [{"x": "real"}, {"x": "int"}, {"y": "date"}, {"o.a": "real", "o.d": "date"}, {"l": "reals"}]
)
def test_declared_types_do_not_hide_a_record(schema: dict[str, str]) -> None:
    folder = Memory()
    record = {"name": "A", "x": 5, "y": "2026-01-01", "o": {"a": 1, "d": "2026-01-01"}, "l": [1, 2]}
    [batch], refused = sent([{"name": "first"}, record], folder, schema=schema)
    assert not refused
    assert positions(folder, "1", echoes_of(bytes(batch.body))) == [1, 2]


ECHOES = {
    "other order of keys": lambda event: dict(reversed(event.items())),
    "numbers as floats": lambda event: msgspec.json.decode(ENCODER.encode(event)),
    "nulls for what is not there": lambda event: (
        event | {"session": None, "context": None, "page_properties": None}
    ),
}


@pytest.mark.parametrize("change", ECHOES)
def test_an_echo_need_not_have_the_same_bytes(change: str) -> None:
    folder = Memory()
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.UTC)
    found = [
        {"name": "A", "user.uid": "u", "number": number, "price": Decimal("11.5"), "at": moment}
        for number in range(3)
    ]
    [batch], _ = sent(found, folder)
    echoes = [ECHOES[change](echo) for echo in echoes_of(bytes(batch.body))]
    assert positions(folder, "1", echoes) == [1, 2, 3]


def test_a_decimal_that_came_back_through_a_float_is_no_other_record() -> None:
    """No place is better than a wrong one."""
    folder = Memory()
    [batch], _ = sent([{"x": Decimal("11.1")}, {"x": Decimal("11.10")}], folder, name="Odd")
    assert positions(folder, "1", echoes_of(bytes(batch.body))) == [1, 2]
    assert positions(folder, "1", list(reversed(echoes_of(bytes(batch.body))))) == [2, 1]


@pytest.mark.parametrize("batch", [None, "7", "7.1"])
def test_what_is_not_known_has_no_place(batch: str | None) -> None:
    folder = Memory()
    [made], _ = sent([{"name": "A"}], folder)
    assert positions(folder, batch, echoes_of(bytes(made.body))) == [None]  # type: ignore[arg-type]


@pytest.mark.parametrize("echo", [{}, {"name": None}, {"name": 5}, {"name": "B"}, {"nonsense": [[1]]}])
def test_an_echo_that_is_no_record_has_no_place(echo: Any) -> None:
    folder = Memory()
    [batch], _ = sent([{"name": "A"}, {"name": "C"}], folder)
    good = echoes_of(bytes(batch.body))
    assert positions(folder, "1", [good[1], echo, good[0]]) == [2, None, 1]


def test_facts_come_back_as_they_were() -> None:
    folder = Memory()
    fingerprints = FingerprintFolder(folder, "file")  # type: ignore[arg-type]
    assert fingerprints.sent_import() == SentImport()
    sent_import = SentImport(
        {"job/1==": "1.2"}, {"id": ["properties", "id"]}, {"user": {"uid": "ü"}}, "dag/run/task/-1"
    )
    fingerprints.write_sent_import(sent_import)
    assert FingerprintFolder(folder, "file").sent_import() == sent_import  # type: ignore[arg-type]
    fingerprints.remove()
    assert not folder


def test_shared_numbers_stay_numbers() -> None:
    folder = Memory()
    options = MappingOptions(EVENTS)
    shared = shared_part({"context": {"location": {"latitude": 52.5}}}, options)
    sent_import = SentImport(shared=DECODER.decode(ENCODER.encode(shared)))
    FingerprintFolder(folder, "file").write_sent_import(sent_import)  # type: ignore[arg-type]
    again = shared_part(FingerprintFolder(folder, "file").sent_import().shared, options)  # type: ignore[arg-type]
    assert ENCODER.encode(again) == ENCODER.encode(shared)
