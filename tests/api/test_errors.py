"""An answer that reports no success becomes an error that says what to do."""

from __future__ import annotations

import pytest

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.api import protocol
from tests.api.answers import failure


@pytest.mark.parametrize(
    ("status", "kind", "is_transient", "advice"),
    [
        (202, exceptions.FullStoryNotReadyError, True, "FullStory is still working"),
        (400, exceptions.FullStoryBadRequestError, False, "the same request will fail again"),
        (401, exceptions.FullStoryAuthenticationError, False, "check the password of the connection"),
        (403, exceptions.FullStoryPermissionError, False, "takes a key of level"),
        (404, exceptions.FullStoryNotFoundError, False, "check the id, whether it imports events or users"),
        (408, exceptions.FullStoryServerError, True, "The request took too long to arrive"),
        (409, exceptions.FullStoryConflictError, True, "is being worked on at this moment"),
        (413, exceptions.FullStoryBodyTooLargeError, False, "for an import, set a smaller max_batch_bytes"),
        (422, exceptions.FullStoryBadRequestError, False, "the same request will fail again"),
        (429, exceptions.FullStoryRateLimitError, True, "200 batches or 500,000 records"),
        (500, exceptions.FullStoryServerError, True, "a later request may succeed"),
        (502, exceptions.FullStoryServerError, True, "a later request may succeed"),
        (503, exceptions.FullStoryServerError, True, "a later request may succeed"),
        (599, exceptions.FullStoryServerError, True, "a later request may succeed"),
        (418, exceptions.FullStoryApiError, False, "HTTP 418, Some message (some_code)."),
        (201, exceptions.FullStoryApiError, False, "HTTP 201"),
        (
            301,
            exceptions.FullStoryProtocolError,
            False,
            "answered with a redirect (HTTP 301). It is not followed",
        ),
        (302, exceptions.FullStoryProtocolError, False, "would carry the API key elsewhere"),
        (307, exceptions.FullStoryProtocolError, False, "Check the host of the connection."),
    ],
)
def test_a_status_is_an_error_of_one_type(status: int, kind: type, is_transient: bool, advice: str) -> None:
    error = failure(status)

    assert type(error) is kind
    assert error.is_transient is is_transient
    assert protocol.is_transient(error) is is_transient
    assert error.status_code == status
    assert advice in str(error)
    assert "read the status of job 'a' (events)" in str(error)


def test_an_error_carries_what_fullstory_said() -> None:
    error = failure(404)

    assert error.code == "some_code"
    assert str(error) == (
        "Could not read the status of job 'a' (events): "
        "FullStory answered HTTP 404, Some message (some_code).\n"
        "No such job in this organization: check the id, whether it imports events or users, and the "
        "connection that created it."
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"<html><b>secret</b></html>", b"\xff\xfe", b"[]", b'"secret"', b"5", b"{", b"[" * 100_000],
    ids=str,
)
@pytest.mark.parametrize("status", [400, 401, 503])
def test_an_error_in_another_form_gives_none_of_its_bytes_to_the_log(status: int, body: bytes) -> None:
    error = failure(status, body)

    assert f"HTTP {status}, with no message in FullStory's form." in str(error)
    assert "secret" not in str(error)
    assert error.code is None


@pytest.mark.parametrize("body", [b"{}", b'{"message": null, "code": null}', b'{"message": ""}'])
def test_an_error_without_a_message_says_so(body: bytes) -> None:
    assert "HTTP 400, with no message." in str(failure(400, body))


@pytest.mark.parametrize("body", [b'{"message": {"a": 1}, "code": 5}', b'{"message": [1], "code": ["x"]}'])
def test_an_error_with_values_of_other_types_is_an_error_still(body: bytes) -> None:
    error = failure(429, body)

    assert isinstance(error, exceptions.FullStoryRateLimitError)
    assert isinstance(error.code, str)


@pytest.mark.parametrize(
    ("value", "shown"), [("0", "0"), ("0.25", "0.25"), ("30", "30"), ("1000000", "1000000")]
)
def test_the_wait_that_fullstory_asks_for_is_shown_in_plain_digits(value: str, shown: str) -> None:
    assert str(failure(429, Retry_After=value)).endswith(f"FullStory asks to wait {shown} s.")
