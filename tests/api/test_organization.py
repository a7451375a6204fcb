"""The owner of a key, and quotas."""

from __future__ import annotations

import pytest

from airflow_provider_fullstory.api import organization
from tests.api.answers import answer


def test_quotas_come_as_text() -> None:
    body = b'{"server_event_quota":{"usage":"18446744073709551615","limit":"-1"}}'

    quota = answer(200, body, organization.quotas()).server_event_quota

    assert (quota.usage, quota.limit) == (2**64 - 1, -1)


@pytest.mark.parametrize(
    ("role", "reads"),
    [("USER", False), ("ARCHITECT", True), ("ADMIN", True), ("VIEW_ONLY", False), ("NEW", False)],
)
def test_a_role_says_whether_the_key_reads_results(role: str, reads: bool) -> None:
    account = answer(200, b'{"email":"","orgId":"ABC","role":"%s"}' % role.encode(), organization.me())

    assert account.org_id == "ABC"
    assert account.reads_results is reads
