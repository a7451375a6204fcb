"""Annotations: FullStory's rules, the request, and the answer."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pendulum
import pytest

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.api.annotations import (
    Annotation,
    NewAnnotation,
    create_annotation,
    new_annotation,
    shortened,
)
from tests.api.answers import answer

NOON = "2026-01-31T12:00:00Z"
CALL = create_annotation(new_annotation("Deployed"))


def sent(**fields: Any) -> dict[str, Any]:
    """Return the JSON that is sent for an annotation."""
    body = create_annotation(new_annotation(**{"text": "Deployed"} | fields)).request.body
    content: dict[str, Any] = json.loads(bytes(body or b""))
    return content


def test_only_what_is_given_is_sent() -> None:
    assert sent() == {"text": "Deployed"}
    assert sent(source="") == {"text": "Deployed"}
    assert sent(start_time=NOON, source="Airflow") == {
        "text": "Deployed",
        "start_time": NOON,
        "source": "Airflow",
    }


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00+00:00",
        " 2026-01-31T13:00+01:00\n",
        datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
        datetime.datetime(2026, 1, 31, 12),  # noqa: DTZ001 - It means UTC.
        pendulum.datetime(2026, 1, 31, 7, tz="America/New_York"),
    ],
    ids=str,
)
def test_times_are_sent_in_utc_and_without_a_zone_they_are(moment: Any) -> None:
    assert sent(start_time=moment)["start_time"] == NOON
    assert sent(start_time="2026-01-01", end_time=moment)["end_time"] == NOON


def test_a_date_is_its_midnight_and_a_fraction_stays() -> None:
    assert sent(start_time="2026-01-31")["start_time"] == "2026-01-31T00:00:00Z"
    assert sent(start_time="2026-01-31T12:00:00.25Z")["start_time"] == "2026-01-31T12:00:00.250000Z"


def test_an_end_that_equals_the_start_is_left_out() -> None:
    assert sent(start_time=NOON, end_time=NOON) == {"text": "Deployed", "start_time": NOON}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": ""}, "text is empty."),
        ({"text": " \n"}, "text is empty."),
        ({"text": None}, "text must be text, not NoneType."),
        ({"text": "x" * 201}, "text has 201 characters; FullStory takes up to 200."),
        ({"text": "\ud800"}, "text holds half of a surrogate pair"),
        ({"source": "x" * 41}, "source has 41 characters; FullStory takes up to 40."),
        ({"source": 7}, "source must be text, not int."),
        ({"start_time": ""}, "start_time is ''; it must be a datetime, or text in ISO 8601"),
        ({"start_time": "None"}, "start_time is 'None'; it must be"),
        ({"start_time": "1769860800000"}, "start_time is '1769860800000'; it must be"),
        ({"start_time": 1769860800}, "start_time is 1769860800; it must be"),
        ({"start_time": "2026-02-30"}, "start_time is '2026-02-30'; it must be"),
        ({"end_time": datetime.time(12)}, "end_time is datetime.time(12, 0); it must be"),
        ({"end_time": "0001-01-01T00:00:00+01:00"}, "end_time is '0001-01-01T00:00:00+01:00'; it must be"),
        (
            {"start_time": NOON, "end_time": "2026-01-31T11:59:59Z"},
            "end_time is 2026-01-31T11:59:59Z, but it starts at 2026-01-31T12:00:00Z.",
        ),
        (
            {"end_time": "2020-01-01"},
            "end_time is 2020-01-01T00:00:00Z, but it starts now, since it has no start_time.",
        ),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_fullstory_would_not_take_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(exceptions.FullStoryInputError) as caught:
        new_annotation(**{"text": "Deployed"} | fields)

    assert str(caught.value).startswith(f"The annotation's {message}")
    assert str(caught.value).endswith("Nothing was sent to FullStory.")


def test_the_longest_texts_pass() -> None:
    assert new_annotation("ü" * 200, source="ü" * 40) == NewAnnotation("ü" * 200, source="ü" * 40)


def test_a_text_is_shortened_to_what_passes() -> None:
    assert shortened("x" * 200) == "x" * 200
    assert shortened("x" * 201) == "x" * 199 + "…"


def test_the_answer_is_the_annotation() -> None:
    fields = {"text": "Deployed", "start_time": NOON, "end_time": NOON, "source": "", "later": 1}
    assert answer(200, json.dumps(fields).encode(), CALL) == Annotation("Deployed", NOON, NOON, "")


def test_an_annotation_without_a_source_may_come_back_without_one() -> None:
    fields = {"text": "Deployed", "start_time": NOON, "end_time": NOON}
    assert answer(200, json.dumps(fields).encode(), CALL) == Annotation("Deployed", NOON, NOON, "")


@pytest.mark.parametrize("status", [500, 502, 599])
def test_a_server_error_is_not_said_to_be_worth_a_repetition(status: int) -> None:
    with pytest.raises(exceptions.FullStoryServerError) as caught:
        answer(status, call=CALL)

    assert caught.value.is_ambiguous
    assert "may have done the work all the same, so it is not asked again" in str(caught.value)
