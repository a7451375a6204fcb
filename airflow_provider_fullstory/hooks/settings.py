"""What an Airflow connection of type ``fullstory`` says: where requests go, with which key, and how."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_fullstory.exceptions import FullStoryInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection

DEFAULT_HOST = "api.fullstory.com"
DEFAULT_TIMEOUT = 120.0
CONNECT_TIMEOUT = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """
    Settings of one connection.

    :param base_url: Scheme, host and port; https, or http to this machine itself.
    :param api_key: The key as FullStory shows it.
    :param timeout: Seconds without a byte after which a request is given up.
    :param ca_bundle: File of certificate authorities to trust instead of the usual ones.
    :param proxy: URL of a proxy; without one the environment's ``HTTPS_PROXY`` counts.
    """

    base_url: str
    api_key: str = dataclasses.field(repr=False)
    timeout: float = DEFAULT_TIMEOUT
    ca_bundle: str | None = None
    proxy: str | None = dataclasses.field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Tell whether requests stay on this machine; they then pass no proxy, which would see the key."""
        return _is_loopback(urlsplit(self.base_url).hostname or "")

    @classmethod
    def from_connection(cls, connection: Connection, extra: Mapping[str, Any]) -> Settings:
        """
        Read the settings from a connection.

        :param connection: Password holds the API key, host (optional) FullStory's host.
        :param extra: The connection's extra: ``timeout``, ``ca_bundle``, ``proxy``.
        :raises FullStoryInputError: Where the key is missing or the host is not one a key may be sent to.
        """
        conn_id = connection.conn_id
        return cls(
            base_url=_base_url(conn_id, connection.host, connection.port, connection.schema),
            api_key=_api_key(conn_id, connection.password),
            timeout=_timeout(conn_id, extra.get("timeout")),
            ca_bundle=_ca_bundle(conn_id, extra.get("ca_bundle")),
            proxy=extra.get("proxy") or None,
        )


def _api_key(conn_id: str, password: str | None) -> str:
    key = (password or "").strip().removeprefix("Basic ").strip()
    if not key:
        raise FullStoryInputError(
            f"Connection {conn_id!r} has no API key: put the key, as FullStory shows it, into its password."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise FullStoryInputError(
            f"The password of connection {conn_id!r} is no FullStory API key: it holds characters that no "
            "key has. In a connection written as a URI, characters such as / must be percent-encoded."
        )
    return key


def _base_url(conn_id: str, host: str | None, port: int | None, scheme: str | None) -> str:
    host = (host or DEFAULT_HOST).strip().rstrip("/")
    if "://" not in host:
        host = f"{scheme if scheme in ('http', 'https') else 'https'}://{host}"
    try:
        url = urlsplit(host)
        port = url.port or port
    except ValueError as error:
        raise FullStoryInputError(f"The host of connection {conn_id!r} is no host: {error}.") from None
    name = url.hostname or ""
    if (
        url.scheme not in ("http", "https")
        or not name
        or host != f"{url.scheme}://{url.netloc}"
        or "@" in host
    ):
        raise FullStoryInputError(
            f"The host of connection {conn_id!r} must be a name such as {DEFAULT_HOST}, with a scheme and "
            "a port where needed, and nothing else: no path, no user, no query."
        )
    if url.scheme == "http" and not _is_loopback(name):
        raise FullStoryInputError(
            f"Connection {conn_id!r} would send its API key unencrypted to {name!r}: only https is allowed, "
            "except to this machine itself (localhost)."
        )
    netloc = f"[{name}]" if ":" in name else name
    return f"{url.scheme}://{netloc}:{port}" if port else f"{url.scheme}://{netloc}"


def _timeout(conn_id: str, value: object) -> float:
    if value in (None, ""):
        return DEFAULT_TIMEOUT
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise FullStoryInputError(
            f"The timeout of connection {conn_id!r} must be a number of seconds above 0, not {value!r}."
        )
    return seconds


def _ca_bundle(conn_id: str, value: object) -> str | None:
    if not value:
        return None
    if not Path(str(value)).is_file():
        raise FullStoryInputError(
            f"The ca_bundle of connection {conn_id!r} is not a file on this machine: {value}."
        )
    return str(value)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
