"""Whatever a server or a proxy answers, the error names it, and holds no secret."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
from tests.hooks.servers import KEY, answer, connect, failure_of, serving

pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.mark.parametrize("named_by", ["connection", "environment"])
def test_a_proxy_that_refuses_is_named_without_its_password(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: Any, named_by: str
) -> None:
    with serving(answer(b"", "407 Proxy Authentication Required")) as (address, heard):
        proxy = f"http://someone:S3cret%2FPw@{address}"
        connect(monkeypatch, "fullstory.invalid", **({"proxy": proxy} if named_by == "connection" else {}))
        if named_by == "environment":
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        error = failure_of(open_hook)
    assert isinstance(error, FullStoryUnreachableError)
    assert f"through the proxy http://{address}" in str(error)
    assert "407" in str(error)
    assert "Check the proxy" in str(error)
    assert heard
    shown = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
    assert "S3cret" not in shown
    assert KEY.encode() not in b"".join(heard)


def test_the_proxy_of_the_connection_wins(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answer(b"", "502 Bad Gateway")
    with serving(refusal) as (of_connection, asked), serving(refusal) as (of_environment, not_asked):
        connect(monkeypatch, "fullstory.invalid", proxy=f"http://{of_connection}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://{of_environment}")
        failure_of(open_hook)
    assert asked
    assert not_asked == []


def test_an_answer_that_echoes_the_key_does_not_show_it(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.dumps({"message": f"bad header Basic {KEY}", "code": KEY}).encode()
    with serving(answer(said, "401 Unauthorized")) as (address, _):
        connect(monkeypatch, f"http://{address}")
        error = failure_of(open_hook)
    assert isinstance(error, FullStoryAuthenticationError)
    assert "TOPSECRET" not in f"{error} {error.code}"


@pytest.mark.parametrize(
    "said", [answer(b"", "400 Bad Request"), b""], ids=["speaks no TLS", "hangs up in the handshake"]
)
def test_a_connection_that_fails_before_the_request_is_sent_is_made_again_whatever_is_asked(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)
    with serving(said) as (address, heard):
        connect(monkeypatch, f"https://{address}")
        with open_hook(retry_for=1) as hook, pytest.raises(FullStoryUnreachableError) as caught:
            hook.update_user("1", email="new")
    assert not caught.value.is_ambiguous
    assert "may have done the work" not in str(caught.value)
    assert len(heard) > 1
