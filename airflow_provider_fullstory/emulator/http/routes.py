"""FullStory's endpoints: their paths, the key level that each needs, and the function that answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import unquote

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid, json_answer, not_found
from airflow_provider_fullstory.emulator.settings import KEYS, Level
from airflow_provider_fullstory.emulator.store.users import UserFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_fullstory.emulator.organization.imports import Resource
    from airflow_provider_fullstory.emulator.organization.organization import Organization


@dataclasses.dataclass(frozen=True)
class Call:
    """
    Hold a request as an endpoint sees it.

    :param level: Level of the caller's key.
    :param body: Bytes of the request.
    :param query: Parameters of the query string.
    :param id: The job or the user in the path, decoded.
    :param idempotency_key: The ``Idempotency-Key`` header.
    :param arrived: When the whole request had arrived, in seconds since 1970.
    """

    level: Level
    body: bytes
    query: Mapping[str, str]
    id: str
    idempotency_key: str | None
    arrived: float


@dataclasses.dataclass(frozen=True)
class Route:
    """
    Describe one endpoint.

    :param method: HTTP method.
    :param path: Its path; ``*`` stands for the id of a job or a user.
    :param level: The lowest level of API key that may use it.
    :param endpoint: Answers a request.
    :param takes_key: Whether it does the work of a request once for each ``Idempotency-Key``.
    """

    method: str
    path: str
    level: Level
    endpoint: Callable[[Organization, Call], Answer]
    takes_key: bool = False


def _routes_of(resource: Resource) -> list[Route]:
    def create_batch(organization: Organization, call: Call) -> Answer:
        return organization.imports.create_batch(resource, call.body, call.idempotency_key, call.arrived)

    def create_one(organization: Organization, call: Call) -> Answer:
        return organization.imports.create_one(resource, call.body, call.idempotency_key)

    def status(organization: Organization, call: Call) -> Answer:
        return organization.results.status(resource, call.id)

    def imported(organization: Organization, call: Call) -> Answer:
        token = call.query.get("page_token", "")
        return organization.results.imported(resource, call.id, token, include_schema=_include_schema(call))

    def rejected(organization: Organization, call: Call) -> Answer:
        return organization.results.rejected(resource, call.id, call.query.get("page_token", ""))

    return [
        Route("POST", f"/v2/{resource}/batch", Level.STANDARD, create_batch, takes_key=True),
        Route("POST", f"/v2/{resource}", Level.STANDARD, create_one, takes_key=True),
        Route("GET", f"/v2/{resource}/batch/*", Level.STANDARD, status),
        Route("GET", f"/v2/{resource}/batch/*/imports", Level.ARCHITECT, imported),
        Route("GET", f"/v2/{resource}/batch/*/errors", Level.ARCHITECT, rejected),
    ]


def _get_user(organization: Organization, call: Call) -> Answer:
    return organization.single_users.get(call.id, include_schema=_include_schema(call))


def _list_users(organization: Organization, call: Call) -> Answer:
    query = call.query
    wanted = UserFilter(
        query.get("uid"), query.get("email"), query.get("display_name"), _flag(call, "is_identified")
    )
    token = query.get("page_token", "")
    return organization.single_users.list(wanted, token, include_schema=_include_schema(call))


def _update_user(organization: Organization, call: Call) -> Answer:
    return organization.single_users.update(call.id, call.body)


def _delete_user(organization: Organization, call: Call) -> Answer:
    return organization.single_users.delete(call.id)


def _delete_user_by_uid(organization: Organization, call: Call) -> Answer:
    return organization.single_users.delete_by_uid(call.query.get("uid", ""))


def _include_schema(call: Call) -> bool:
    return _flag(call, "include_schema") or False


def _flag(call: Call, name: str) -> bool | None:
    value = call.query.get(name)
    if value not in {"true", "false", None}:
        raise invalid(f"{name} must be true or false")
    return None if value is None else value == "true"


def _me(organization: Organization, call: Call) -> Answer:
    role = {Level.STANDARD: "USER", Level.ARCHITECT: "ARCHITECT", Level.ADMIN: "ADMIN"}[call.level]
    return json_answer(
        {"email": "someone@example.com", "orgId": organization.settings.organization, "role": role}
    )


def _quotas(organization: Organization, _call: Call) -> Answer:
    return organization.results.quotas()


def _annotate(organization: Organization, call: Call) -> Answer:
    return organization.annotations.create(call.body)


ROUTES = [
    *_routes_of("events"),
    *_routes_of("users"),
    Route("GET", "/v2/users", Level.ARCHITECT, _list_users),
    Route("DELETE", "/v2/users", Level.ARCHITECT, _delete_user_by_uid),
    Route("GET", "/v2/users/*", Level.ARCHITECT, _get_user),
    Route("POST", "/v2/users/*", Level.STANDARD, _update_user),
    Route("DELETE", "/v2/users/*", Level.ARCHITECT, _delete_user),
    Route("GET", "/me", Level.STANDARD, _me),
    Route("GET", "/v2/organization/quotas", Level.STANDARD, _quotas),
    # Its documentation names no Idempotency-Key. Unknown: what becomes of one. Here it is ignored.
    Route("POST", "/v2/annotations", Level.STANDARD, _annotate),
]


def find_route(method: str, path: str) -> tuple[Route, str]:
    """
    Return the endpoint of a request, and the id in its path.

    The path is as it was sent, without the query. It is split before it is decoded, so that an encoded slash
    stays part of the id.

    :raises ApiError: If there is no such endpoint.
    """
    if path.startswith("/v2beta/"):
        path = "/v2/" + path.removeprefix("/v2beta/")
    segments = path.split("/")
    for route in ROUTES:
        expected = route.path.split("/")
        if route.method == method and len(expected) == len(segments):
            pairs = list(zip(expected, segments, strict=True))
            if all(name in {"*", segment} for name, segment in pairs):
                found_id = next((unquote(segment) for name, segment in pairs if name == "*"), "")
                return route, found_id
    raise not_found()


def level_of(authorization: str) -> Level:
    """
    Return the level of the key in an ``Authorization`` header.

    The header holds the word Basic and the key itself, not in Base64.

    :raises ApiError: If there is no valid key.
    """
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "basic" or key not in KEYS:
        raise ApiError(401, "unauthorized", "access is unauthorized")
    return KEYS[key]


def check_level(route: Route, level: Level) -> None:
    """
    Check that a key may use an endpoint.

    :raises ApiError: If the level is too low.
    """
    if level < route.level:
        raise ApiError(403, "forbidden", "insufficient permissions")
