"""What Airflow's UI shows of a connection to FullStory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fullstory.get_provider_info import connection_type

if TYPE_CHECKING:
    from demo.services import Services


def test_the_form_has_the_declared_fields(services: Services) -> None:
    form = services.airflow.api.connection_forms()["fullstory"]
    declared = connection_type()
    assert form["hook_name"] == declared["hook-name"]
    assert set(form["extra_fields"]) == set(declared["conn-fields"])
    assert form["standard_fields"]["password"]["title"] == "API key"
    assert form["standard_fields"]["host"]["placeholder"].startswith("api.fullstory.com, EU: api.eu1.")


def test_the_button_tells_organization_and_role(services: Services) -> None:
    emulator = services.emulator
    answer = services.airflow.api.test_connection(
        connection_id="fullstory_new",
        conn_type="fullstory",
        host=emulator.url,
        password=emulator.standard_key,
    )
    assert answer["status"] is True
    assert "the key's role is USER" in answer["message"]
    assert "cannot read which records FullStory rejected" in answer["message"]


def test_the_button_tells_a_wrong_key(services: Services) -> None:
    answer = services.airflow.api.test_connection(
        connection_id="fullstory_new", conn_type="fullstory", host=services.emulator.url, password="na1.wrong"
    )
    assert answer["status"] is False
    assert "check the password of the connection" in answer["message"]
    assert "na1.wrong" not in answer["message"]
