"""Assets of the scheme ``fullstory``: the events, users or annotations of an organization."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset

SCHEME: Final = "fullstory"
RESOURCES: Final = ("events", "users", "annotations")
_FORM: Final = (
    f"{SCHEME}://<organization>/<{' or '.join(RESOURCES)}>, where the organization is its id, or the host of "
    "the API"
)
_ORGANIZATION: Final = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,4}|:[1-6]\d{4})?", re.ASCII)
#: What the URL of the API leaves out.
_DEFAULT_PORT: Final = 443


def create_asset(*, organization: str, resource: str, extra: Mapping[str, Any] | None = None) -> Asset:
    """
    Return the asset of what an organization has in FullStory.

    :param organization: The id of the organization, as FullStory's settings show it. The host of the API,
        such as ``api.fullstory.com``, does as well if no other organization is reached there.
    :param resource: ``events``, ``users`` or ``annotations``.
    :param extra: What Airflow keeps with the asset.
    :raises ValueError: If that makes no asset of FullStory's.
    """
    uri = f"{SCHEME}://{organization}/{resource}"
    # Airflow 2 only warns of a URI that its handler refuses.
    sanitize_uri(urlsplit(uri))
    return Asset(uri=uri, extra=None if extra is None else dict(extra))


def uri_at(base_url: str, resource: str) -> str:
    """
    Return the URI of the asset behind an address of the API, if nobody named the organization.

    :param base_url: Scheme, host and port of the API.
    :param resource: ``events``, ``users`` or ``annotations``.
    """
    uri = urlsplit(f"{SCHEME}://{urlsplit(base_url).netloc}/{resource}")
    return urlunsplit(sanitize_uri(uri))


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Return the URI of an asset in the one form that it has.

    :raises ValueError: Saying what is wrong with it.
    """
    problem = _problem(uri)
    if problem:
        raise ValueError(f"This URI of an asset {problem}. It must be {_FORM}.")
    organization = (uri.hostname or "") if _is_host(uri) else uri.netloc
    if ":" in organization:
        organization = f"[{organization}]"
    port = f":{uri.port}" if uri.port not in (None, _DEFAULT_PORT) else ""
    return uri._replace(scheme=SCHEME, netloc=organization + port, path=uri.path.rstrip("/"))


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:  # noqa: ARG001
    """Return the dataset of OpenLineage that an asset is."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, name = names_in_openlineage(asset.uri)
    return Dataset(namespace=namespace, name=name)


def names_in_openlineage(uri: str) -> tuple[str, str]:
    """Return the namespace and the name that OpenLineage has for the URI of an asset."""
    parts = sanitize_uri(urlsplit(uri))
    return f"{SCHEME}://{parts.netloc}", parts.path.strip("/")


def _is_host(uri: SplitResult) -> bool:
    """Return whether a URI names a host, which has no case, rather than the id of an organization."""
    return any(sign in uri.netloc for sign in ".:") or uri.netloc.casefold() == "localhost"


def _problem(uri: SplitResult) -> str | None:
    """Return what is wrong with a URI. It may hold a key, so no more of it is shown than the resource."""
    if "@" in uri.netloc:
        return "has a user or a key in it, which belongs into the connection"
    if uri.query or uri.fragment:
        return "has more than an organization and a resource"
    if not _ORGANIZATION.fullmatch(uri.netloc):
        return "names no organization, or one with other signs than letters, digits, dots, dashes and _"
    resource = uri.path.strip("/")
    if resource not in RESOURCES:
        return f"names the resource {resource[:50]!r}" if resource else "names no resource"
    return None
