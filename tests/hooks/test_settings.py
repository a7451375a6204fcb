"""What a connection may say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.hooks.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient


def settings(**fields: Any) -> Settings:
    extra = fields.pop("extra", {})
    connection = Connection(conn_id="fs", conn_type="fullstory", **{"password": "na1.key/x", **fields})
    return Settings.from_connection(connection, extra)


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://api.fullstory.com"),
        ({"host": "api.eu1.fullstory.com"}, "https://api.eu1.fullstory.com"),
        ({"host": "https://api.fullstory.com/"}, "https://api.fullstory.com"),
        ({"host": "http://localhost:8025"}, "http://localhost:8025"),
        ({"host": "127.0.0.1", "port": 8025, "schema": "http"}, "http://127.0.0.1:8025"),
        ({"host": "http://[::1]:8025"}, "http://[::1]:8025"),
        ({"host": "proxy.example.com", "port": 8443}, "https://proxy.example.com:8443"),
    ],
)
def test_the_host_is_optional_and_may_have_scheme_and_port(fields: dict[str, Any], base_url: str) -> None:
    assert settings(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password": None}, "has no API key"),
        ({"password": "  "}, "has no API key"),
        ({"password": "two words"}, "is not a FullStory API key"),
        ({"password": "a\nb"}, "is not a FullStory API key"),
        ({"host": "http://api.fullstory.com"}, "unencrypted to 'api.fullstory.com': only https"),
        ({"host": "http://127.0.0.1.example.com"}, "only https"),
        ({"host": "https://api.fullstory.com/v2"}, "no path"),
        ({"host": "https://me:secret@api.fullstory.com"}, "no user"),
        ({"host": "ftp://api.fullstory.com"}, "must be a name"),
        ({"host": "https://api.fullstory.com:port"}, "host of connection .fs. is not valid"),
        ({"extra": {"timeout": "soon"}}, "number of seconds"),
        ({"extra": {"timeout": 0}}, "number of seconds"),
        ({"extra": {"ca_bundle": "/no/such/file"}}, "not a file on this machine"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(FullStoryInputError, match=words) as caught:
        settings(**fields)
    assert "secret" not in str(caught.value)


def test_extras_set_timeout_authorities_and_proxy(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    read = settings(extra={"timeout": "30", "ca_bundle": str(bundle), "proxy": "http://proxy:3128"})
    assert (read.timeout, read.ca_bundle, read.proxy) == (30.0, str(bundle), "http://proxy:3128")


def test_a_key_pasted_with_its_scheme_is_taken() -> None:
    assert settings(password=" Basic na1.key/x\n").api_key == "na1.key/x"


def test_the_key_is_in_no_repr() -> None:
    assert "na1.key" not in repr(settings())


def test_a_connection_written_as_a_uri_works(
    fullstory_emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", fullstory_emulator.connection_uri())
    assert FullStoryHook().get_account().org_id


def test_a_working_connection_names_organization_and_role(emulator: EmulatorClient) -> None:
    works, message = FullStoryHook().test_connection()
    assert works
    assert "organization" in message
    assert "ARCHITECT" in message
    assert "cannot read" not in message


def test_the_test_of_a_standard_key_says_that_it_cannot_read_rejected_records(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    works, message = FullStoryHook().test_connection()
    assert works
    assert "cannot read which records FullStory rejected" in message


def test_a_wrong_key_fails_the_test_without_showing_it(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json("na1.wrong/key"))
    works, message = FullStoryHook().test_connection()
    assert not works
    assert "check the password" in message
    assert "na1.wrong" not in message


def test_a_missing_connection_fails_the_test() -> None:
    works, message = FullStoryHook("nowhere").test_connection()
    assert not works
    assert "nowhere" in message


def test_a_connection_that_cannot_work_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "fullstory", "host": "http://example.com", "password": "k"}
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", json.dumps(connection))
    works, message = FullStoryHook().test_connection()
    assert not works
    assert "only https" in message
