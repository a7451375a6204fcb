"""A call reads its answer, and a failure says whether and when to try again."""

from __future__ import annotations

import pytest

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.api import jobs, protocol
from tests.api.answers import EVENTS, answer, failure


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (10**9, 60.0)]
)
def test_the_wait_before_a_retry_doubles_up_to_a_minute(attempt: int, most: float) -> None:
    waits = [protocol.retry_seconds(exceptions.FullStoryServerError("no"), attempt) for _ in range(200)]

    assert most / 2 <= min(waits) <= max(waits) <= most
    assert len(set(waits)) > 1


def test_retry_after_counts_before_the_doubling() -> None:
    error = exceptions.FullStoryRateLimitError("no", retry_after=17.0)

    assert protocol.retry_seconds(error, 9) == 17.0


def test_a_retry_after_of_nothing_makes_no_hot_loop() -> None:
    error = exceptions.FullStoryRateLimitError("no", retry_after=0.0)

    assert protocol.retry_seconds(error, 9) > 0


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), exceptions.FullStoryError("no")])
def test_other_errors_are_not_transient(error: BaseException) -> None:
    assert not protocol.is_transient(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>login</html>",
        b"{}",
        b'{"job":{}}',
        b'{"job":{"id":5}}',
        b'{"job":{"id":""}}',
        b'{"job":{"id":"a\\nb"}}',
        b'{"job":{"id":"a"},"errors":-1}',
        b'{"job":{"id":"a"},"imports":"many"}',
        b'{"job":{"id":"a\xff"}}',
        b'{"job":{"id":"a"},"x":1e9999999999999999999,"imports":1e9999999999999999999}',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=[
        *("empty", "null", "array", "html", "no job", "no id", "other id", "empty id", "broken id"),
        *("below 0", "no number", "bytes within", "huge exponent", "bytes", "nested without end"),
    ],
)
def test_a_good_answer_in_another_form_points_to_host_and_proxy(body: bytes) -> None:
    error = failure(200, body)

    assert isinstance(error, exceptions.FullStoryProtocolError)
    assert "Check the host of the connection, and any proxy on the way." in str(error)
    assert "login" not in str(error)


@pytest.mark.parametrize(
    "event",
    [
        b'{"n":1e9999999999999999999}',
        b'{"text":"\xe2\x82"}',
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=["exponent", "bytes", "depth"],
)
def test_a_page_that_cannot_be_read_is_an_error_of_ours(event: bytes) -> None:
    body = b'{"results":[{"event":' + event + b"}]}"
    with pytest.raises(exceptions.FullStoryProtocolError, match="not FullStory's"):
        answer(200, body, jobs.errors_page(EVENTS, "a"))


def test_the_key_is_sent_as_it_is() -> None:
    assert protocol.authorization("na1.a/b") == "Basic na1.a/b"
