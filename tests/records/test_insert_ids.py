"""Insert ids tell records apart by the values that are sent, whatever form their numbers have."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api.encoding import Digits
from airflow_provider_fullstory.api.users import User
from airflow_provider_fullstory.records.insert_ids import (
    NO_CONTENT,
    content_of,
    ids_of_values,
    key_of,
    key_of_values,
    keyed_ids,
    keys_of_records,
    packed,
    unpacked,
)
from airflow_provider_fullstory.records.kinds import EVENTS, USERS
from airflow_provider_fullstory.records.mapping import map_rows
from airflow_provider_fullstory.records.options import MappingOptions

if TYPE_CHECKING:
    from airflow_provider_fullstory.records.kind import RecordKind


@pytest.mark.parametrize(
    "numbers",
    [
        [5, 5.0, Decimal(5), Decimal("5.00"), Digits("5.0"), Digits("5e0")],
        [0, 0.0, -0.0, Decimal("0.000"), Digits("-0")],
        [0.1, Decimal("0.10"), Digits("1e-1")],
        [10**25, 1e25, Decimal("1E+25"), Digits("10000000000000000000000000.0")],
    ],
    ids=["whole", "zero", "fraction", "large"],
)
def test_equal_numbers_have_one_insert_id(numbers: list[Any]) -> None:
    assert len({ids_of_values([[number]])[0] for number in numbers}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ["12345678901234567890123456789012345671", "12345678901234567890123456789012345672"],
        ["12345678901234567890123456789012.5", "12345678901234567890123456789012.6"],
        ["0.12345678901234567890123456789012345", "0.12345678901234567890123456789012346"],
        ["1E-400", "2E-400"],
    ],
    ids=["whole", "mixed", "fraction", "tiny"],
)
@pytest.mark.parametrize("kind", [Decimal, Digits])
def test_numbers_that_differ_in_their_last_digit_have_insert_ids_of_their_own(
    texts: list[str], kind: type[Decimal]
) -> None:
    assert len(set(ids_of_values([[kind(text) for text in texts]]))) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Decimal("5.00"), 5),
        (5.0, 5),
        (Decimal("12.50"), 12.5),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000Z"),
        ("2026-01-01T10:00:00Z", "2026-01-01T11:00:00+01:00"),
    ],
)
def test_values_that_fullstory_may_spell_in_another_way_have_one_insert_id(first: Any, second: Any) -> None:
    assert ids_of_values([[first]]) == ids_of_values([[second]])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (5, "5"),
        (1, True),
        (Decimal("0.1"), Decimal("0.10000000000000001")),
        ("2026-01-01T10:00:00.123456788Z", "2026-01-01T10:00:00.123456789Z"),
        ("2026-01-01 10:00", "2026-01-01T10:00:00Z"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("a", "A"),
    ],
)
def test_values_that_differ_have_different_insert_ids(first: Any, second: Any) -> None:
    assert ids_of_values([[first]]) != ids_of_values([[second]])


KEYED = keyed_ids([1, None, 2**64 - 1], [2**64 - 1, 7, NO_CONTENT])


def test_a_keyed_id_is_a_key_and_a_content() -> None:
    assert list(map(key_of, KEYED)) == [1, 7, 2**64 - 1]
    assert list(map(content_of, KEYED)) == [2**64 - 1, 7, 0]


@pytest.mark.parametrize(("ids", "id_bytes"), [([1, 2**64 - 2, 0], 8), (KEYED, 16), ([], 8), ([], 16)])
def test_ids_are_written_down_with_the_highest_byte_first(ids: list[int], id_bytes: int) -> None:
    content = packed(ids, id_bytes)
    assert content == b"".join(one.to_bytes(id_bytes, "big") for one in ids)
    assert list(unpacked(content, id_bytes)) == list(ids)


def test_the_first_field_that_a_record_fills_is_its_key() -> None:
    fields = ("uid", "id")
    one = User(uid="1", id="9")
    users = [one, User(uid="1", email="a"), User(id="1"), User(id="9"), User(email="a"), User(uid="2")]
    keys = keys_of_records(fields, users)
    assert keys[4] is None
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(users) - 1
    # Records that all fill the first field are told in another way, which gives the same.
    assert keys_of_records(fields, [one])[0] == keys[0]
    assert [key_of_values(fields, [user.uid, user.id]) for user in users] == keys
    # What FullStory echoes has null where nothing was sent.
    assert key_of_values(fields, [None, "9"]) == keys[3]


@pytest.mark.parametrize(
    ("kind", "insert_id", "id_bytes"),
    [(USERS, ["*"], 16), (USERS, ["uid"], 8), (USERS, [], 8), (EVENTS, ["*"], 8), (EVENTS, ["plan"], 8)],
)
def test_whole_records_of_a_kind_that_is_upserted_have_keyed_ids(
    kind: RecordKind, insert_id: list[str], id_bytes: int
) -> None:
    options = MappingOptions(kind, name="Order" if kind is EVENTS else None, insert_id=insert_id)
    assert options.insert_id_bytes == id_bytes
    rows = [("1", "pro"), ("2", "pro"), ("1", "free")]
    columns = ["uid", "plan"] if kind is USERS else ["user.uid", "plan"]
    [chunk] = map_rows(columns, [rows], options)
    if insert_id:
        assert all(one < 2 ** (8 * id_bytes) for one in chunk.insert_ids)
    if id_bytes == 16:
        first, second, third = chunk.insert_ids
        assert key_of(first) == key_of(third) != key_of(second)
        assert len(set(map(content_of, chunk.insert_ids))) == 3
