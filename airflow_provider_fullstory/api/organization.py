"""The endpoints of an organization: the owner of the API key, and the quotas."""

from __future__ import annotations

import msgspec

from airflow_provider_fullstory.api.encoding import decoder
from airflow_provider_fullstory.api.http import Request
from airflow_provider_fullstory.api.protocol import Call


class Account(msgspec.Struct, frozen=True, rename="camel"):
    """The owner and the role of an API key; ``email`` is blank for keys made before keys had owners."""

    org_id: str
    role: str = "UNKNOWN"
    email: str = ""

    @property
    def level(self) -> str:
        """The key's level, in the words of FullStory's documentation."""
        return {"USER": "Standard", "ARCHITECT": "Architect", "ADMIN": "Admin"}.get(self.role, self.role)

    @property
    def reads_results(self) -> bool:
        """Return whether the key may read a job's imported and rejected records (Architect and above)."""
        return self.role in ("ARCHITECT", "ADMIN")


class Quota(msgspec.Struct, frozen=True):
    """The usage of a quota in the period; without a ``limit``, or with one below 0, it is unlimited."""

    usage: int = 0
    limit: int | None = None
    period_start: str | None = None
    period_end: str | None = None


class Quotas(msgspec.Struct, frozen=True):
    """The organization's quotas for sessions and for server events."""

    session_quota: Quota | None = None
    server_event_quota: Quota | None = None


def quotas() -> Call[Quotas]:
    """Read the organization's quotas."""
    return Call(
        Request("GET", "/v2/organization/quotas"), decoder(Quotas).decode, "read the organization's quotas"
    )


def me() -> Call[Account]:
    """Read the owner and the role of the API key."""
    return Call(Request("GET", "/me"), decoder(Account).decode, "identify the API key")
