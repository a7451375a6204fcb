"""Answers of FullStory's, and what a call makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.api import http, jobs, protocol
from airflow_provider_fullstory.api.jobs import Resource

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
