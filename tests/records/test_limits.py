"""What is just beyond a limit of a field is refused, and what is just inside is sent."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.records import kinds, rules
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.limits import Limits
from tests.records.sending import pattern_of, rejected_by_the_emulator, send_records, send_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.records.rules import Rule

GOOD = {"name": "A", "user.uid": "good"}

FORMS = {
    "session.id": (["1", ":1", "1:", ":", "1:2:3", "1%3A2", "a/1:2", "a: b"], ["1:2", "é:é"]),
    "context.location.country": (["D", "DEU", "D1", "ÄÖ", "DE\n", " DE", ""], ["DE", "de", "xx"]),
}


def values_of(field: str, limits: Limits) -> Iterator[tuple[Rule, list[Any], list[Any]]]:
    """Yield each limit of a field as its rule, values beyond it, and values that it just lets pass."""
    if limits.shortest:
        yield rules.EMPTY, [""], []
    if limits.longest is not None:
        inside = [
            "x" * limits.longest,
            "é" * limits.longest,
            "😀" * limits.longest,
            10 ** (limits.longest - 1),
        ]
        yield rules.TOO_LONG, ["x" * (limits.longest + 1), 10**limits.longest], inside
    if limits.url_rule is not None:
        yield limits.url_rule, ["https://app.fullstory.com/ui/1/session/1:2"], []
    if limits.form is not None:
        beyond, inside = FORMS[field]
        yield rules.WRONG_FORM, beyond, inside
    for bound, step in ((limits.lowest, -1), (limits.highest, 1)):
        if bound is not None:
            inside = [bound, float(bound), Decimal(bound), bound - step]
            beyond = [bound + step, float(bound + step), Decimal(bound + step)]
            if field.startswith("context.location"):
                beyond.append(Decimal(bound) + Decimal(step) * Decimal("1E-20"))
            yield rules.OUT_OF_RANGE, beyond, inside


CASES_OF_LIMITS = [
    (field, rule, beyond, inside)
    for field, limits in EVENTS.limits.items()
    for rule, beyond, inside in values_of(field, limits)
]


def record_with(field: str, value: Any) -> dict[str, Any]:
    record = {"name": "A", field: value}
    return record if field.startswith(("user", "session")) else {"user.uid": "u"} | record


def test_every_kind_of_limit_is_among_the_cases() -> None:
    described = {field.name for field in dataclasses.fields(Limits)} - {"source", "form_name", "is_id"}
    assert described == {"shortest", "longest", "form", "url_rule", "lowest", "highest"}
    assert {field for field, *_ in CASES_OF_LIMITS} == set(EVENTS.limits)
    assert kinds.SESSION_URL in {rule for _, rule, *_ in CASES_OF_LIMITS}


def test_every_limit_is_of_a_field() -> None:
    assert set(EVENTS.limits) <= set(EVENTS.fields)


def test_every_id_is_taken_for_one() -> None:
    ids = {"user.uid", "user.id", "session.uid", "session.id"}
    assert {field for field, limits in EVENTS.limits.items() if limits.is_id} == ids


def test_documented_limits_are_those_of_the_contract() -> None:
    assert EVENTS.limits["user.uid"].longest == EVENTS.limits["session.uid"].longest == 256
    pixels = {field for field, limits in EVENTS.limits.items() if limits.highest == 2**31 - 1}
    sizes = ("screen_width", "screen_height", "viewport_width", "viewport_height")
    assert pixels == {f"context.device.{size}" for size in sizes}
    assert rules.MAX_PROPERTY_NAME == 512


@pytest.mark.parametrize(("field", "rule", "beyond", "inside"), CASES_OF_LIMITS)
def test_what_is_just_beyond_a_limit_is_refused(
    field: str, rule: Rule, beyond: list[Any], inside: list[Any]
) -> None:
    for value in beyond:
        record = record_with(field, value)
        sent = send_records([GOOD, record, GOOD], name=None)
        columns = list(dict.fromkeys([*GOOD, *record]))
        rows = [tuple(one.get(column) for column in columns) for one in (GOOD, record, GOOD)]

        assert [invalid.position for invalid in sent.refused] == [2], value
        assert sent.code == rule.code
        assert pattern_of(rule).fullmatch(sent.refused[0].refusal.reason)
        assert sent.refused[0].refusal.reason.startswith(field)
        assert len(sent.events) == 2
        assert send_rows(columns, rows, name=None) == sent


@pytest.mark.parametrize(("field", "rule", "beyond", "inside"), CASES_OF_LIMITS)
def test_what_is_just_inside_a_limit_passes(
    field: str, rule: Rule, beyond: list[Any], inside: list[Any]
) -> None:
    records = [record_with(field, value) for value in inside]

    sent = send_records(records, name=None)

    assert not sent.refused
    assert len(sent.events) == len(records)
    assert rejected_by_the_emulator(sent) == []


@pytest.mark.parametrize("limits", EVENTS.limits.values(), ids=EVENTS.limits)
def test_every_limit_has_a_source(limits: Limits) -> None:
    assert limits.source.startswith("developer.fullstory.com/")
    assert limits.form is None or limits.form_name
