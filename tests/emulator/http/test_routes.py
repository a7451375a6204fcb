from __future__ import annotations

import base64

import pytest
import requests

KEYS = {
    "na1.emulator/standard": "USER",
    "na1.emulator/architect": "ARCHITECT",
    "na1.emulator/admin": "ADMIN",
}


@pytest.mark.parametrize(("key", "role"), KEYS.items())
def test_me_tells_the_role_of_the_key(api, key, role):
    api.key = key
    assert api.get("/me").json()["role"] == role


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic",
        "Basic na1.emulator/unknown",
        "Bearer na1.emulator/admin",
        "na1.emulator/admin",
        "Basic " + base64.b64encode(b"na1.emulator/admin:").decode(),
    ],
)
def test_a_request_without_a_valid_key_is_unauthorized(api, authorization):
    headers = {"Authorization": authorization} if authorization else {}
    answer = requests.get(api.url + "/me", headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("key", KEYS)
def test_results_need_an_architect_key(api, key):
    api.key = key
    path = api.import_events({"name": "A"})
    assert api.get(path).status_code == 200
    for results in ("/imports", "/errors"):
        answer = api.get(path + results)
        if key == "na1.emulator/standard":
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        else:
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/events/batch/unknown"),
        ("GET", "/v2/users/batch/unknown/errors"),
        ("GET", "/v3/events"),
        ("PUT", "/v2/events/batch"),
        ("GET", "/"),
        ("GET", "/_emulator/unknown"),
    ],
)
def test_what_does_not_exist_is_not_found(api, method, path):
    answer = api.call(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "resource_not_found")
    assert answer.headers["Content-Type"].startswith("application/json")
