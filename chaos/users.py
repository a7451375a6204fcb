"""The rows of the warehouse as users, and whether FullStory was sent each version of them once."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import httpx

from chaos.records import Differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse

User: TypeAlias = dict[str, Any]


def compare_users(warehouse: Warehouse, emulator: EmulatorClient) -> Differences:
    """
    Compare every user of the warehouse, as it was and as it is, with what was really sent.

    :param warehouse: Both loads are in it: users of the second one have changed.
    :param emulator: What was sent to.
    """
    return user_differences(dict(_expected_users(warehouse)), _sent_users(emulator))


def user_differences(
    expected: dict[str, list[dict[str, Any]]], sent: Iterable[dict[str, Any]]
) -> Differences:
    """
    Compare users with what was sent of them.

    :param expected: The versions that each user has had, by uid.
    :param sent: Users in the order in which they were sent.
    """
    latest: dict[str, User] = {}
    doubled, altered = [], []
    for user in sent:
        uid = user["uid"]
        if user not in expected.get(uid, ()):
            altered.append(_number(uid))
        if latest.get(uid) == user:
            doubled.append(_number(uid))
        latest[uid] = user
    # A user whose last version never came, or was overwritten by an older one.
    lost = [_number(uid) for uid, versions in expected.items() if latest.get(uid) != versions[-1]]
    return Differences(lost, doubled, altered)


def _number(uid: str) -> int:
    return int(uid.removeprefix("user-"))


def _expected_users(warehouse: Warehouse) -> Iterator[tuple[str, list[User]]]:
    """Yield what each row should become, without the help of what is being checked."""
    with warehouse.cursor() as cursor:
        cursor.execute("SELECT record_id, amount, note, load FROM records")
        for record_id, amount, note, load in cursor:
            user: User = {"uid": f"user-{record_id}"}
            if note is not None:
                user["display_name"] = f"{note} {record_id}"
            yield (
                user["uid"],
                [
                    user | {"properties": {"record_id": record_id, "amount": amount, "version": version}}
                    for version in range(1, load + 1)
                ],
            )


def _sent_users(emulator: EmulatorClient) -> Iterator[User]:
    """Yield the users of all jobs, in the order in which FullStory took them."""
    headers = {"Authorization": f"Basic {emulator.architect_key}"}
    with httpx.Client(base_url=emulator.url, headers=headers, timeout=60, trust_env=False) as client:
        for job in emulator.jobs():
            token = ""
            while token is not None:
                parameters = {"page_token": token} if token else {}
                answer = client.get(f"/v2/users/batch/{quote(job['id'], safe='')}/imports", params=parameters)
                answer.raise_for_status()
                page = json.loads(answer.content, parse_float=Decimal)
                for user in page["results"]:
                    yield {name: user[name] for name in ("uid", "display_name", "properties") if name in user}
                token = page.get("next_page_token")
