"""URIs of assets, as Airflow itself makes and checks them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_provider_fullstory.assets.fullstory import (
    create_asset,
    names_in_openlineage,
    sanitize_uri,
    uri_at,
)
from demo.services import AIRFLOW_VERSION


@pytest.mark.parametrize("resource", ["events", "users", "annotations"])
def test_an_asset_of_each_resource(resource: str) -> None:
    asset = create_asset(organization="1ABC", resource=resource, extra={"owner": "growth"})
    assert asset == Asset(uri=f"fullstory://1ABC/{resource}", extra={"owner": "growth"})
    assert asset.uri == f"fullstory://1ABC/{resource}"
    assert asset.extra == {"owner": "growth"}


@pytest.mark.parametrize(
    ("written", "uri"),
    [
        ("fullstory://API.FullStory.com/events", "fullstory://api.fullstory.com/events"),
        ("fullstory://api.fullstory.com:443/events/", "fullstory://api.fullstory.com/events"),
        ("fullstory://LOCALHOST:8080/users", "fullstory://localhost:8080/users"),
        ("fullstory://[::1]:8080/users", "fullstory://[::1]:8080/users"),
        ("fullstory://o-1ABC_x/users", "fullstory://o-1ABC_x/users"),
    ],
)
def test_airflow_gives_a_uri_its_one_form(written: str, uri: str) -> None:
    assert Asset(uri=written).uri == uri


BAD = [
    ("fullstory://1ABC/event", "names the resource 'event'"),
    ("fullstory://1ABC/events/more", "names the resource 'events/more'"),
    ("fullstory://1ABC", "names no resource"),
    ("fullstory:///events", "names no organization"),
    ("fullstory://1A BC/events", "names no organization, or one with other signs"),
    ("fullstory://1ABC/events?key=na1.secret", "has more than an organization and a resource"),
    ("fullstory://na1.secret@api.fullstory.com/events", "has a user or a key in it"),
    ("fullstory://api.fullstory.com:many/events", "names no organization, or one with other signs"),
]


@pytest.mark.parametrize(("uri", "problem"), BAD)
def test_a_bad_uri_is_explained_without_its_secrets(uri: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        sanitize_uri(urlsplit(uri))
    assert "It must be fullstory://<organization>/<events or users or annotations>" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["fullstory://1ABC/event", "fullstory://na1.key@api.fullstory.com/events"])
def test_airflow_refuses_a_bad_uri_at_parse_time(uri: str) -> None:
    if AIRFLOW_VERSION < (3, 0):
        # It only warns, unless [core] strict_dataset_uri_validation is set.
        with pytest.warns(UserWarning, match="AIP-60 compliant|auth info"):
            Asset(uri=uri)
    else:
        with pytest.raises(ValueError, match="This URI of an asset"):
            Asset(uri=uri)


def test_the_factory_refuses_what_no_asset_is() -> None:
    with pytest.raises(ValueError, match="names the resource 'sessions'"):
        create_asset(organization="1ABC", resource="sessions")


def test_the_names_of_openlineage_are_those_of_the_uri() -> None:
    assert names_in_openlineage("fullstory://API.fullstory.com:443/users") == (
        "fullstory://api.fullstory.com",
        "users",
    )


def test_an_address_of_the_api_has_a_uri() -> None:
    assert uri_at("https://api.fullstory.com:443", "events") == "fullstory://api.fullstory.com/events"
    assert uri_at("http://[::1]:8080", "users") == "fullstory://[::1]:8080/users"
