"""The requests about import jobs, and their answers."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fullstory.api import jobs
from airflow_provider_fullstory.api.jobs import JobState, Page, Resource
from tests.api.answers import EVENTS, answer


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


def test_an_echoed_record_keeps_its_numbers_digit_by_digit() -> None:
    body = b'{"results":[{"code":"c","message":"m","event":{"properties":{"amount":1.10}}}]}'

    [record] = answer(200, body, jobs.errors_page(EVENTS, "a")).results

    assert str(record.event["properties"]["amount"]) == "1.10"


@pytest.mark.parametrize("result", [b"{}", b'{"code":null,"message":null}'], ids=["left out", "null"])
def test_a_rejected_record_may_lack_code_and_message(result: bytes) -> None:
    [record] = answer(200, b'{"results":[' + result + b"]}", jobs.errors_page(EVENTS, "a")).results

    assert not record.code
    assert not record.message
