"""What FullStory says of an organization: whose key it is, and its quotas."""

from __future__ import annotations

import msgspec

from airflow_provider_fullstory.api.encoding import decoder
from airflow_provider_fullstory.api.http import Request
from airflow_provider_fullstory.api.protocol import Call


class Account(msgspec.Struct, frozen=True, rename="camel"):
    """Tell whose API key it is; ``email`` is blank for keys made before keys had owners."""

    org_id: str
    role: str = "UNKNOWN"
    email: str = ""

    @property
    def level(self) -> str:
        """The key's level, in the words of FullStory's documentation."""
        return {"USER": "Standard", "ARCHITECT": "Architect", "ADMIN": "Admin"}.get(self.role, self.role)

    @property
    def reads_results(self) -> bool:
        """Tell whether the key may read a job's imported and refused records (Architect and above)."""
        return self.role in ("ARCHITECT", "ADMIN")


class Quota(msgspec.Struct, frozen=True):
    """Tell how much of a quota is used in the period; no ``limit``, or one below 0, says there is none."""

    usage: int = 0
    limit: int | None = None
    period_start: str | None = None
    period_end: str | None = None


class Quotas(msgspec.Struct, frozen=True):
    """Tell the organization's quotas for sessions and for server events."""

    session_quota: Quota | None = None
    server_event_quota: Quota | None = None


def quotas() -> Call[Quotas]:
    """Ask for the organization's quotas."""
    return Call(
        Request("GET", "/v2/organization/quotas"), decoder(Quotas).decode, "read the organization's quotas"
    )


def me() -> Call[Account]:
    """Ask whose API key it is."""
    return Call(Request("GET", "/me"), decoder(Account).decode, "identify the API key")
