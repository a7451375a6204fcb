"""Connections that cannot be looked up or used end in an error of ours, without secrets."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryConnectionLookupError,
    FullStoryInputError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook

if TYPE_CHECKING:
    from collections.abc import Callable
from tests.hooks.servers import NAME, connect, failure_of

pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.mark.parametrize(
    "proxy",
    [
        "http://someone:S3cretPw@127.0.0.1:99999",
        "someone:S3cretPw@127.0.0.1:1",
        "127.0.0.1:1",
        "http://someone:S3cr#etPw@127.0.0.1:1",
        "http://someone:S3cr/etPw@127.0.0.1:1",
        "http://someone:S3cr[etPw@127.0.0.1:1",
        "http://someone:S3cretPw%E4%BD%A0@127.0.0.1:1",
        "http://someone:S3cretPw@",
        "socks5://someone:S3cretPw@127.0.0.1:1",
        5,
        ["http://127.0.0.1:1"],
    ],
    ids=str,
)
def test_a_proxy_that_is_no_url_is_an_input_error_that_names_it(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, proxy: object
) -> None:
    connect(monkeypatch, "fullstory.invalid", proxy=proxy)
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryInputError)
    assert str(error).startswith("The proxy of connection 'fullstory_default'")
    assert "S3cr" not in "".join(traceback.format_exception(error))


def test_a_proxy_of_the_environment_that_is_no_url_is_an_input_error(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "fullstory.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:S3cr/etPw@127.0.0.1:1")
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryInputError)
    assert "HTTPS_PROXY" in str(error)
    assert "S3cr" not in "".join(traceback.format_exception(error))


def test_a_lookup_that_fails_is_a_passing_fault(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("the backend is away")

    for kind in (FullStoryHook, FullStoryAsyncHook):
        monkeypatch.setattr(kind, "get_connection", fail)
        monkeypatch.setattr(kind, "aget_connection", fail, raising=False)
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryConnectionLookupError)
    assert error.is_transient
    assert "the backend is away" in str(error)


def test_a_variable_that_is_no_connection_is_named(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, "fullstory://:na1.secretpart/rest@127.0.0.1:8025")
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryInputError)
    assert NAME in str(error)
    assert "percent-encoded" in str(error)
    assert "secretpart" not in "".join(traceback.format_exception(error))


def test_a_missing_connection_is_reported_with_what_airflow_sees_outside_a_task(
    open_hook: Callable[..., Any],
) -> None:
    with pytest.raises(FullStoryInputError) as caught, open_hook("nowhere") as hook:
        hook.get_account()
    assert "Outside a running task" in str(caught.value)
    assert "AIRFLOW_CONN_NOWHERE=" in str(caught.value)
