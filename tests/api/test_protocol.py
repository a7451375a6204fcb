"""An endpoint becomes a request, an answer a result or an error that says what to do."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.api import http, jobs, organization, protocol
from airflow_provider_fullstory.api.jobs import JobState, Page, Resource

EVENTS = Resource.EVENTS
STATUS = jobs.job_status(EVENTS, "a")
SAID = b'{"code": "some_code", "message": "Some message."}'


def answer(status: int, body: bytes = SAID, call: protocol.Call[Any] = STATUS, **headers: str) -> Any:
    named = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    return call.result(http.Response(status, named, body))


def failure(status: int, body: bytes = SAID, **headers: str) -> exceptions.FullStoryError:
    with pytest.raises(exceptions.FullStoryError) as caught:
        answer(status, body, **headers)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "is_transient", "advice"),
    [
        (202, exceptions.FullStoryNotReadyError, True, "FullStory is still working"),
        (400, exceptions.FullStoryBadRequestError, False, "the same request will be refused again"),
        (401, exceptions.FullStoryAuthenticationError, False, "check the password of the connection"),
        (403, exceptions.FullStoryPermissionError, False, "takes a key of level"),
        (404, exceptions.FullStoryNotFoundError, False, "check the id, and the connection that created it"),
        (408, exceptions.FullStoryServerError, True, "The request took too long to arrive"),
        (409, exceptions.FullStoryConflictError, True, "is being worked on at this moment"),
        (413, exceptions.FullStoryBodyTooLargeError, False, "set a smaller max_batch_bytes"),
        (422, exceptions.FullStoryBadRequestError, False, "the same request will be refused again"),
        (429, exceptions.FullStoryRateLimitError, True, "200 batches or 500,000 records"),
        (500, exceptions.FullStoryServerError, True, "the request may be sent again"),
        (502, exceptions.FullStoryServerError, True, "the request may be sent again"),
        (503, exceptions.FullStoryServerError, True, "the request may be sent again"),
        (599, exceptions.FullStoryServerError, True, "the request may be sent again"),
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
        "FullStory refused to read the status of job 'a' (events): HTTP 404, Some message (some_code).\n"
        "No such job in this organization: check the id, and the connection that created it."
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
    ("value", "seconds"),
    [("5", 5.0), ("0", 0.0), (" 7 ", 7.0), ("1.5", 1.5), ("-3", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_read(value: str, seconds: float) -> None:
    assert failure(429, retry_after=value).retry_after == seconds


@pytest.mark.parametrize("status", [202, 429, 503])
def test_retry_after_may_be_a_date(status: int) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)

    seconds = failure(status, retry_after=date).retry_after

    assert seconds is not None
    assert 0 < seconds <= 101


@pytest.mark.parametrize(
    "value",
    [
        "", "soon", "nan", "inf", "1e400", "Wed, 21 Oct 99999 07:28:00 GMT", "Wed, 21 Oct 2015 99:28:00",
        "Wed, 21 Oct 2015 07:28:00 +999999999999999999", "0 0 0 0 0 0",
    ],
)  # fmt: skip
def test_retry_after_that_means_nothing_is_ignored(value: str) -> None:
    assert failure(429, retry_after=value).retry_after is None


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
    ("job_id", "quoted"),
    [
        ("abc", "abc"), ("abd123=", "abd123%3D"), ("a/b", "a%2Fb"), ("a?b#c", "a%3Fb%23c"), ("%2F", "%252F"),
        ("a b", "a%20b"), ("../me", "..%2Fme"), ("é", "%C3%A9"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("resource", list(Resource))
def test_a_job_id_is_quoted(resource: Resource, job_id: str, quoted: str) -> None:
    assert jobs.job_status(resource, job_id).request.path == f"/v2/{resource}/batch/{quoted}"
    assert jobs.imports_page(resource, job_id).request.path == f"/v2/{resource}/batch/{quoted}/imports"
    assert jobs.errors_page(resource, job_id).request.path == f"/v2/{resource}/batch/{quoted}/errors"


def test_an_import_is_a_post_with_its_key() -> None:
    request = jobs.create_import(EVENTS, b"{}", "key").request

    assert (request.method, request.path, request.body) == ("POST", "/v2/events/batch", b"{}")
    assert request.headers == {"Content-Type": "application/json", "Idempotency-Key": "key"}
    assert "{}" not in repr(request).replace("query={}", "")


def test_pages_are_asked_for_by_token() -> None:
    assert jobs.errors_page(EVENTS, "a").request.query == {}
    assert jobs.errors_page(EVENTS, "a", "t=").request.query == {"page_token": "t="}
    assert jobs.imports_page(EVENTS, "a", "t", include_schema=True).request.query == {
        "include_schema": "true",
        "page_token": "t",
    }


@pytest.mark.parametrize(
    ("body", "state", "imports", "errors", "is_finished"),
    [
        (b'{"job":{"id":"a","status":"PROCESSING"}}', JobState.PROCESSING, 0, 0, False),
        (b'{"job":{"id":"a","status":"COMPLETED"},"imports":42}', JobState.COMPLETED, 42, 0, True),
        (
            b'{"job":{"id":"a","status":"COMPLETED"},"imports":104,"errors":1}',
            JobState.COMPLETED,
            104,
            1,
            True,
        ),
        (b'{"imports":"42","errors":"2","job":{"id":"a","status":"FAILED"}}', JobState.FAILED, 42, 2, True),
        (b'{"job":{"id":"a","status":"QUEUED"}}', "QUEUED", 0, 0, False),
        (
            b'{"job":{"id":"a","status":"COMPLETED"},"imports":2,"errors":null}',
            JobState.COMPLETED,
            2,
            0,
            True,
        ),
        (b'{"job":{"id":"a"}}', "", 0, 0, False),
        (b'{"job":{"id":"a","status":"FAILED","new":1},"new":{}}', JobState.FAILED, 0, 0, True),
    ],
)
def test_a_status_is_read(body: bytes, state: str, imports: int, errors: int, is_finished: bool) -> None:
    status = answer(200, body)

    assert (status.job.status, status.imports, status.errors) == (state, imports, errors)
    assert status.is_finished is is_finished


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
    ("body", "page"),
    [
        (b"{}", Page([], None, None)),
        (b'{"results":[],"total_records":"1200","next_page_token":"asd543="}', Page([], 1200, "asd543=")),
        (b'{"results":[],"total_records":7,"next_page_token":null}', Page([], 7, None)),
        (b'{"results":[{"a":1}],"total_records":null}', Page([{"a": 1}], None, None)),
    ],
)
def test_a_page_is_read(body: bytes, page: Page[Any]) -> None:
    assert answer(200, body, jobs.imports_page(EVENTS, "a")) == page


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


def test_an_echoed_record_keeps_its_numbers_digit_by_digit() -> None:
    body = b'{"results":[{"code":"c","message":"m","event":{"properties":{"amount":1.10}}}]}'

    [record] = answer(200, body, jobs.errors_page(EVENTS, "a")).results

    assert str(record.event["properties"]["amount"]) == "1.10"


@pytest.mark.parametrize("result", [b"{}", b'{"code":null,"message":null}'], ids=["left out", "null"])
def test_a_refused_record_may_lack_code_and_message(result: bytes) -> None:
    [record] = answer(200, b'{"results":[' + result + b"]}", jobs.errors_page(EVENTS, "a")).results

    assert not record.code
    assert not record.message


def test_quotas_come_as_text() -> None:
    body = b'{"server_event_quota":{"usage":"18446744073709551615","limit":"-1"}}'

    quota = answer(200, body, organization.quotas()).server_event_quota

    assert (quota.usage, quota.limit) == (2**64 - 1, -1)


@pytest.mark.parametrize(
    ("role", "reads"),
    [("USER", False), ("ARCHITECT", True), ("ADMIN", True), ("VIEW_ONLY", False), ("NEW", False)],
)
def test_a_role_tells_whether_the_key_reads_results(role: str, reads: bool) -> None:
    account = answer(200, b'{"email":"","orgId":"ABC","role":"%s"}' % role.encode(), organization.me())

    assert account.org_id == "ABC"
    assert account.reads_results is reads


def test_the_key_is_sent_as_it_is() -> None:
    assert protocol.authorization("na1.a/b") == "Basic na1.a/b"
