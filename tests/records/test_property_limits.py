"""What FullStory would leave out of a user without a word: refused with its record, or dropped."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.emulator.rules.bodies import read_users
from airflow_provider_fullstory.exceptions import FullStoryMappingError
from airflow_provider_fullstory.records.kinds import USERS
from airflow_provider_fullstory.records.mapping import map_records, map_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.rules import NAME_CHARACTERS, NAME_TOO_LONG
from tests.records.refusing import ENDLESS, HOSTILE, within
from tests.records.sending import Sent, batched
from tests.records.test_mapping_any_rows import any_input

if TYPE_CHECKING:
    from airflow_provider_fullstory.records.refusals import InvalidRecord

FACE = "\U0001f600"
MOST, LONGEST = 500, 8_192
DROPPING = {"drops_invalid_properties": True}
NAME = NAME_CHARACTERS.says


def of_records(*records: Any, **options: Any) -> tuple[Sent, dict[str, int]]:
    """Return what is sent of records, and which properties are dropped."""
    made = MappingOptions(USERS, **options)
    chunks = list(map_records(records, made))
    return batched(chunks, made), dict(sum((chunk.dropped_reasons for chunk in chunks), Counter()))


def of_rows(columns: list[str], *rows: tuple[Any, ...], **options: Any) -> tuple[Sent, dict[str, int]]:
    """Return what is sent of the rows of a query, and which properties are dropped."""
    made = MappingOptions(USERS, **options)
    chunks = list(map_rows(columns, [rows], made))
    return batched(chunks, made), dict(sum((chunk.dropped_reasons for chunk in chunks), Counter()))


def of_value(value: Any, **options: Any) -> tuple[Sent, dict[str, int]]:
    """Return what is sent of one property ``x``, whose neighbours are small, both ways, which must agree."""
    sent = of_rows(["uid", "x"], ("a", 1), ("u", value), ("b", None), **options)
    assert of_records({"uid": "a", "x": 1}, {"uid": "u", "x": value}, {"uid": "b"}, **options) == sent
    return sent


def user(sent: Sent, uid: str = "u") -> dict[str, Any]:
    [one] = [one for one in sent.events if one["uid"] == uid]
    return one


# Sizes ----------------------------------------------------------------------------------------------------

#: The largest values that FullStory takes, and others one byte or one element larger.
BORDERS = {
    "text of one byte a character": ("a" * 8_192, "a" * 8_193),
    "text of four bytes a character": (FACE * 2_048, FACE * 2_048 + "a"),
    "text whose JSON is longer": ('"' * 8_192, '"' * 8_193),
    "an array of texts": (["a" * 4_092, "b" * 4_093], ["a" * 4_093, "b" * 4_093]),
    "an array of numbers": ([1] * 4_095, [1] * 4_096),
    "a Decimal": (Decimal("0." + "1" * 8_190), Decimal("0." + "1" * 8_191)),
    "a text inside an object": ({"y": {"z": FACE * 2_048}}, {"y": {"z": FACE * 2_049}}),
    "an Enum": (enum.Enum("Bio", {"ONE": "a" * 8_192}).ONE, enum.Enum("Bio", {"ONE": "a" * 8_193}).ONE),  # type: ignore[attr-defined]
}
WHERE = {"a text inside an object": "x.y.z"}


@pytest.mark.parametrize("name", BORDERS)
def test_the_largest_value_is_sent(name: str) -> None:
    largest, _ = BORDERS[name]

    for options in ({}, DROPPING):
        sent, dropped = of_value(largest, **options)
        assert "x" in user(sent)["properties"]
        assert (sent.refused, dropped) == ([], {})


@pytest.mark.parametrize("name", BORDERS)
def test_a_larger_value_is_refused_with_its_record(name: str) -> None:
    sent, dropped = of_value(BORDERS[name][1])

    assert [one["uid"] for one in sent.events] == ["a", "b"]
    [invalid] = sent.refused
    assert (invalid.position, sent.code, dropped) == (2, "invalid_argument", {})
    assert invalid.refusal.reason == (
        f"property '{WHERE.get(name, 'x')}' is larger than 8,192 bytes, so FullStory would leave it out; "
        "shorten it in the query, or set drop_invalid_properties=True"
    )


@pytest.mark.parametrize("name", BORDERS)
def test_a_larger_value_is_dropped_and_counted(name: str) -> None:
    sent, dropped = of_value(BORDERS[name][1], **DROPPING)

    assert (user(sent), sent.refused) == ({"uid": "u"}, [])
    assert dropped == {f"property '{WHERE.get(name, 'x')}' is larger than 8,192 bytes": 1}
    # Its neighbours keep theirs.
    assert user(sent, "a") == {"uid": "a", "properties": {"x": 1}, "schema": {"properties": {"x": "int"}}}


def test_a_property_may_have_other_types_in_other_rows() -> None:
    rows = [("a", 1), ("b", "x" * LONGEST), ("c", "y" * 8_193), ("d", ["z"]), ("e", True)]
    for some in (rows, rows[:2], rows[1:3]):
        sent, _ = of_rows(["uid", "x"], *some)
        assert [one["uid"] for one in sent.events] == [uid for uid, _ in some if uid != "c"]


def test_an_object_is_as_large_as_each_property_in_it() -> None:
    sent, dropped = of_value({"a": "x" * LONGEST, "b": "y" * LONGEST})

    assert user(sent)["properties"]["x"]["b"] == "y" * LONGEST
    assert (sent.refused, dropped) == ([], {})


def test_what_is_written_down_can_be_shortened_and_sent() -> None:
    long = "a" * 8_193
    sent, _ = of_records({"uid": "u", "bio": long, "seats": 5, "of": {"note": long, "since": 7}})

    [invalid] = sent.refused
    assert invalid.record == {
        "uid": "u",
        "properties": {"bio": long, "seats": 5, "of": {"note": long, "since": 7}},
        "schema": {"properties": {"seats": "int", "of.since": "int"}},
    }
    fixed = json.loads(json.dumps(invalid.record).replace(long, "short"))
    again, _ = of_records(fixed)
    assert again.event == fixed


# How many -------------------------------------------------------------------------------------------------


def flat(count: int) -> dict[str, Any]:
    return {f"p{number:03}": number for number in range(count)}


#: Properties of a user, of a number, and in which order they are sent.
SHAPES = {
    "flat": flat,
    "nested": lambda count: {"of": {"inner": flat(count)}},
    "mixed": lambda count: {"a": "x", "of": flat(count - 2), "z": "y"},
    "in several objects": lambda count: {"one": flat(250), "other": flat(count - 250)},
}
shapes = pytest.mark.parametrize("shape", SHAPES)


@shapes
def test_500_properties_are_sent(shape: str) -> None:
    properties = SHAPES[shape](MOST)

    for options in ({}, DROPPING):
        sent, dropped = of_records({"uid": "u", "properties": properties}, **options)
        assert (sent.event["properties"], dropped) == (properties, {})


@shapes
def test_501_properties_are_refused(shape: str) -> None:
    properties = SHAPES[shape](MOST + 1)
    sent, _ = of_rows(["uid", *properties], ("u", *properties.values()))

    assert of_records({"uid": "u", **properties})[0] == sent
    assert sent.code == "invalid_argument"
    assert sent.reason == (
        "the record has more than 500 properties, and FullStory would leave out the others; select fewer, or "
        "set drop_invalid_properties=True"
    )
    [invalid] = sent.refused
    assert (invalid.record["uid"], invalid.record["properties"]) == ("u", properties)


@shapes
def test_of_more_than_500_properties_the_first_are_sent(shape: str) -> None:
    few, many = ({"uid": "u", "properties": SHAPES[shape](count)} for count in (MOST, MOST + 2))

    sent, dropped = of_records(many, {"uid": "v", "a": 1}, **DROPPING)

    first = list(leaves(many["properties"]).items())[:MOST]
    assert list(leaves(user(sent)["properties"]).items()) == first
    declared = user(sent)["schema"]["properties"]
    assert declared == {path: "int" for path, value in first if type(value) is int}
    assert dropped == {"a property beyond the first 500": 2}
    assert user(sent, "v") == {"uid": "v", "properties": {"a": 1}, "schema": {"properties": {"a": "int"}}}
    assert of_records(few, **DROPPING)[1] == {}


def test_nulls_are_no_properties() -> None:
    sent, dropped = of_records({"uid": "u", **flat(MOST), "z": None, "of": {"a": None}, "e": {}}, **DROPPING)

    assert (sent.event["properties"], dropped) == (flat(MOST) | {"of": {}, "e": {}}, {})


# Names ----------------------------------------------------------------------------------------------------

LONG = "n" * 513


@pytest.mark.parametrize(
    ("name", "problem"),
    [("bad-name", NAME), ("2nd", NAME), ("größe", NAME), (LONG, NAME_TOO_LONG.says)],
    ids=["hyphen", "digit", "letter", "long"],
)
@pytest.mark.parametrize("root", ["", "properties."])
def test_a_column_with_a_bad_name_is_dropped_and_counted_where_it_has_a_value(
    root: str, name: str, problem: str
) -> None:
    column = f"{root}{name}"
    with pytest.raises(FullStoryMappingError, match="property names"):
        of_rows(["uid", column, "x"], ("u", 1, "y"))

    sent, dropped = of_rows(["uid", column, "x"], ("u", 1, "y"), ("v", None, "y"), **DROPPING)

    assert [one["properties"] for one in sent.events] == [{"x": "y"}] * 2
    [(reason, count)] = dropped.items()
    assert reason.endswith(f": {problem}")
    assert count == 1


def test_a_key_with_a_bad_name_refuses_its_record_alone() -> None:
    sent, _ = of_records({"uid": "u", "x": "y"}, {"uid": "v", "bad-name": "b", "x": "y"})

    assert [one["uid"] for one in sent.events] == ["u"]
    [invalid] = sent.refused
    assert invalid.refusal.reason == f"key 'bad-name': {NAME}"
    assert invalid.record == {"uid": "v", "properties": {"x": "y"}, "bad-name": "b"}


@pytest.mark.parametrize(
    "record",
    [{"bad-name": 1}, {"properties.bad-name": 1}, {"properties": {"bad-name": 1}}],
    ids=["a key", "a dotted key", "inside properties"],
)
def test_a_key_with_a_bad_name_is_dropped_and_counted(record: dict[str, Any]) -> None:
    sent, dropped = of_records({"uid": "u", "email": "e"} | record, **DROPPING)

    assert sent.event == {"uid": "u", "email": "e"}
    [(reason, count)] = dropped.items()
    assert (reason.endswith(f"bad-name': {NAME}"), count) == (True, 1)


def test_a_bad_name_inside_an_object_is_dropped_and_counted() -> None:
    value = {"good": 1, "bad-name": 2, "inner": {"also bad": "x", "of": [1]}}
    sent, _ = of_value(value)
    assert sent.code == "invalid_argument"

    sent, dropped = of_value(value, **DROPPING)

    assert user(sent) == {
        "uid": "u",
        "properties": {"x": {"good": 1, "inner": {"of": [1]}}},
        "schema": {"properties": {"x.good": "int", "x.inner.of": "ints"}},
    }
    assert dropped == {f"property 'x.bad-name': {NAME}": 1, f"property 'x.inner.also bad': {NAME}": 1}


def test_of_an_object_of_which_nothing_is_left_nothing_is_sent() -> None:
    sent, dropped = of_value({"inner": {"bad-name": 1}, "note": "a" * 8_193}, **DROPPING)

    assert user(sent) == {"uid": "u"}
    assert sum(dropped.values()) == 2


def test_a_column_that_is_no_property_is_refused_all_the_same() -> None:
    with pytest.raises(FullStoryMappingError, match=r"users have no field 'user\.uid'"):
        of_rows(["uid", "user.uid"], **DROPPING)
    sent, dropped = of_records({"uid": "u", "user.uid": "v"}, **DROPPING)
    assert ("users have no field 'user.uid'" in sent.reason, dropped) == (True, {})


def test_a_name_that_the_mapping_gives_is_refused_all_the_same() -> None:
    with pytest.raises(FullStoryMappingError, match="property names"):
        of_rows(["uid", "plan"], mapping={"properties.bad-name": "plan"}, **DROPPING)
    with pytest.raises(FullStoryMappingError, match="property names"):
        of_records({"uid": "u", "plan": 1}, mapping={"properties.bad-name": "plan"}, **DROPPING)


# With other problems --------------------------------------------------------------------------------------


def test_properties_of_refused_records_are_not_counted_as_dropped() -> None:
    sent, dropped = of_records(
        {"uid": "u", "bad-name": 1, "bio": "a" * 8_193, "x": b"raw"}, {"bad-name": 1, "bio": "a"}, **DROPPING
    )

    assert (len(sent.refused), sent.events, dropped) == (2, [], {})


@pytest.mark.parametrize("columns", [["uid", "plan", "bio", "bad-name"], ["bad-name", "bio", "plan", "uid"]])
def test_of_a_refused_record_nothing_is_dropped(columns: list[str]) -> None:
    values = {"uid": "u" * 257, "plan": None, "bio": "a" * 8_193, "bad-name": 1}
    for of, given_values in (
        (of_records, [values]),
        (of_records, [{"bad-name": 1, "properties": {"bio": values["bio"]}, "uid": values["uid"]}]),
        (of_rows, [columns, [values[column] for column in columns]]),
    ):
        sent, dropped = of(*given_values, **DROPPING)  # type: ignore[operator]

        [invalid] = sent.refused
        assert (invalid.refusal.reason, dropped) == ("uid is longer than 256 characters", {})
        assert invalid.record == {
            "uid": values["uid"],
            "bad-name": 1,
            "properties": {"bio": values["bio"]},
            "schema": {"properties": {"bad-name": "int"}},
        }


def test_of_a_record_that_is_too_large_for_a_batch_nothing_is_dropped() -> None:
    source = [{"uid": "u", "bio": "a" * 8_193, "plan": "b" * 900}, {"uid": "v", "bio": "a" * 8_193}]
    options = MappingOptions(USERS, drops_invalid_properties=True)
    [chunk] = map_records(source, options)
    refused: list[InvalidRecord] = []
    batcher = Batcher(RunIdentity("", "", ""), BatchLimits(bytes=500), options, refused.extend)

    assert [batch.records for batch in batcher.batches([chunk])] == [1]

    [invalid] = refused
    assert invalid.record == {"uid": "u", "properties": {"bio": "a" * 8_193, "plan": "b" * 900}}
    assert list(chunk.dropped_reasons.values()) == [1]


@pytest.mark.parametrize(
    "bad",
    [
        {"bad-name": 5, "plan": "pro"},
        {"properties.bad-name": 5, "plan": "pro"},
        {"properties": {"bad-name": 5, "plan": "pro"}},
        {"of": {"bad-name": 5, "at": 6}, "plan": "pro"},
        {"many": [1] * 4_097, "plan": "pro"},
        flat(501),
    ],
)
def test_what_was_refused_for_a_property_is_sent_without_it_later(bad: dict[str, Any]) -> None:
    at_once, _ = of_records({"uid": "u", **bad}, **DROPPING)
    sent, _ = of_records({"uid": "u", **bad})
    [invalid] = sent.refused

    later, dropped = of_records(json.loads(json.dumps(invalid.record)), **DROPPING)

    assert later.event == at_once.event
    assert list(dropped.values()) == [1]


def test_a_value_that_no_property_takes_is_refused_all_the_same() -> None:
    sent, dropped = of_value({"bad-name": 1, "raw": b"raw"}, **DROPPING)

    [invalid] = sent.refused
    assert invalid.refusal.reason.startswith("property 'x.raw' is of type bytes")
    assert dropped == {}


def test_a_key_that_is_given_twice_is_refused_all_the_same() -> None:
    key = enum.Enum("Key", {"Y": "y"})
    sent, _ = of_value({"bad-name": 1, "y": 1, key.Y: 2}, **DROPPING)  # type: ignore[attr-defined]

    [invalid] = sent.refused
    assert "given twice" in invalid.refusal.reason


@pytest.mark.parametrize("name", [*HOSTILE, *ENDLESS])
def test_hostile_values_are_refused_alone(name: str) -> None:
    value = (HOSTILE | ENDLESS)[name]
    for hostile in ({"x": value}, {"of": {"bad-name": 1, "x": value}}):
        # Endless is what it must not be; how long it takes depends on the machine.
        with within(60.0):
            sent, _ = of_records({"uid": "a"}, {"uid": "u", **hostile}, {"uid": "b"}, **DROPPING)
        assert {"a", "b"} <= {one["uid"] for one in sent.events}
        assert len(sent.events) + len(sent.refused) == 3


# Whatever properties come in ------------------------------------------------------------------------------

names = st.one_of(
    st.sampled_from(["a", "b", "of", "bad-name", "", "a b", "é", "n" * 512, "n" * 511, LONG]),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,3}", fullmatch=True),
)
#: Characters of one to four bytes, so many of them that they are about as large as FullStory takes.
texts = st.one_of(
    st.sampled_from(["", "x"]),
    st.builds(lambda character, more: character * (LONGEST // len(character.encode())) + more,
              st.sampled_from(["a", '"', "é", "€", FACE]), st.sampled_from(["", "a"])),
)  # fmt: skip
scalars = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), texts)
values = st.recursive(
    st.one_of(scalars, st.builds(lambda text, times: [text] * times, texts, st.integers(0, 2))),
    lambda inner: st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
#: Few properties, or about as many as FullStory takes.
properties = st.builds(
    lambda one, count, root: one | ({root: flat(count)} if root else flat(count)),
    st.dictionaries(names, values, max_size=5),
    st.sampled_from([0, 0, 0, 495, 499, 500, 501]),
    st.sampled_from(["", "many"]),
)


def paths(value: Mapping[str, Any], parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield whatever has a name, by its dotted name."""
    for name, item in value.items():
        yield f"{parents}{name}", item
        if isinstance(item, Mapping):
            yield from paths(item, f"{parents}{name}.")


def leaves(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties by dotted name, in their order."""
    return {path: item for path, item in paths(value) if item is not None and not isinstance(item, Mapping)}


def is_good_name(path: str) -> bool:
    """Return whether FullStory takes the name of a property, as its documentation says it."""
    parts = path.split(".")
    return len(path) <= 512 and all(
        part.isascii() and part[:1].isalpha() and part.replace("_", "").isalnum() for part in parts
    )


def is_within(path: str, value: Any) -> bool:
    """Return whether FullStory takes a property."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return is_good_name(path) and len(text.encode()) <= LONGEST


@any_input
@given(given_properties=properties)
def test_what_is_sent_breaks_no_limit_and_lacks_nothing_that_is_within(
    given_properties: dict[str, Any],
) -> None:
    sent, dropped = of_records({"uid": "u", "properties": given_properties}, **DROPPING)

    kept = leaves(sent.event.get("properties", {}))
    everything = leaves(given_properties)
    good = {path: value for path, value in everything.items() if is_within(path, value)}
    assert len(kept) == min(len(good), MOST)
    assert all(good[path] == value for path, value in kept.items())
    assert sent.event.get("schema", {}).get("properties", {}).keys() <= kept.keys()
    assert [read_users(body, MOST).rejections for body in sent.bodies] == [{}]
    assert dropped or len(kept) == len(everything)


@any_input
@given(given_properties=properties)
def test_without_dropping_a_record_is_sent_whole_or_refused(given_properties: dict[str, Any]) -> None:
    sent, dropped = of_records({"uid": "u", "properties": given_properties})

    everything = leaves(given_properties)
    is_good = all(is_good_name(path) for path, _ in paths(given_properties)) and all(
        is_within(path, value) for path, value in everything.items()
    )
    assert dropped == {}
    assert bool(sent.events) == (is_good and len(everything) <= MOST)
    if sent.events:
        assert leaves(sent.event.get("properties", {})) == everything


@any_input
@given(given_properties=properties)
def test_what_is_refused_is_written_down_whole(given_properties: dict[str, Any]) -> None:
    record = {"uid": "u" * 257, "properties": given_properties}

    [whole], [dropping] = (of_records(record, **options)[0].refused for options in ({}, DROPPING))

    # A NULL is no property, whatever its name.
    assert leaves(dropping.record) == leaves(whole.record)
