"""The settings of an Airflow connection of type ``fullstory``: host, API key, timeout, proxy."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from requests.utils import get_environ_proxies, select_proxy

from airflow_provider_fullstory.api.quoting import forms_of
from airflow_provider_fullstory.exceptions import FullStoryInputError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

DEFAULT_HOST = "api.fullstory.com"
DEFAULT_TIMEOUT = 120.0
CONNECT_TIMEOUT = 10.0
_HOST_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_PROXY_FORM = "http://host:port or http://user:password@host:port, with characters such as / percent-encoded"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """
    Settings of one connection.

    :param base_url: Scheme, host and port; https, or http to this machine itself.
    :param api_key: The key as FullStory shows it.
    :param timeout: Seconds without a byte after which a request is given up.
    :param ca_bundle: File of certificate authorities to trust instead of the usual ones.
    :param proxy: URL of the proxy: the connection's, else the environment's ``HTTPS_PROXY``, else None.
        Requests that stay on this machine use no proxy, since it would see the key.
    """

    base_url: str
    api_key: str = dataclasses.field(repr=False)
    timeout: float = DEFAULT_TIMEOUT
    ca_bundle: str | None = None
    proxy: str | None = dataclasses.field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Return whether requests stay on this machine."""
        return _is_local(self.base_url)

    @property
    def secrets(self) -> set[str]:
        """Texts that no message may show: the key and the proxy's password in each form."""
        return forms_of(self.api_key).union(*map(forms_of, self.proxy_secrets))

    @property
    def proxy_secrets(self) -> list[str]:
        """The proxy's URL, its user and password together, and its password, if it has one."""
        password = urlsplit(self.proxy or "").password
        if self.proxy is None or not password:
            return []
        return [self.proxy, urlsplit(self.proxy).netloc.rpartition("@")[0], password]

    @property
    def proxy_name(self) -> str | None:
        """The proxy's URL without user and password."""
        if self.proxy is None:
            return None
        url = urlsplit(self.proxy)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"

    @classmethod
    def from_connection(cls, connection: Connection, extra: object) -> Settings:
        """
        Read the settings from a connection.

        :param connection: Password holds the API key, host (optional) FullStory's host.
        :param extra: The connection's extra: ``timeout``, ``ca_bundle``, ``proxy``.
        :raises FullStoryInputError: If the key is missing, the key may not be sent to the host, or a value of
            the extra cannot work.
        """
        conn_id = connection.conn_id
        if not isinstance(extra, Mapping):
            raise FullStoryInputError(
                f"The extra of connection {conn_id!r} must be a JSON object, such as "
                f'{{"timeout": 120}}, not a {type(extra).__name__}.'
            )
        base_url = _base_url(conn_id, connection.host, connection.port, connection.schema)
        return cls(
            base_url=base_url,
            api_key=_api_key(conn_id, connection.password),
            timeout=_timeout(conn_id, extra.get("timeout")),
            ca_bundle=_ca_bundle(conn_id, extra.get("ca_bundle")),
            proxy=_proxy(conn_id, extra.get("proxy"), base_url),
        )


def _api_key(conn_id: str, password: str | None) -> str:
    key = (password or "").strip().removeprefix("Basic ").strip()
    if not key:
        raise FullStoryInputError(
            f"Connection {conn_id!r} has no API key: put the key, as FullStory shows it, into its password."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise FullStoryInputError(
            f"The password of connection {conn_id!r} is not a FullStory API key: it holds characters that no "
            "key has. In a connection written as a URI, characters such as / must be percent-encoded."
        )
    return key


def _base_url(conn_id: str, host: str | None, port: int | None, scheme: str | None) -> str:
    host = (host or DEFAULT_HOST).strip().rstrip("/")
    if "://" not in host:
        host = f"{scheme if scheme in ('http', 'https') else 'https'}://{host}"
    try:
        url = urlsplit(host)
        port = url.port or port or None
        name = url.hostname or ""
    except ValueError as error:
        raise FullStoryInputError(f"The host of connection {conn_id!r} is not valid: {error}.") from None
    if (
        url.scheme not in ("http", "https")
        or not _is_host(name)
        or host.partition("://")[2] != url.netloc
        or "@" in host
    ):
        raise FullStoryInputError(
            f"The host of connection {conn_id!r} must be a name such as {DEFAULT_HOST}, with a scheme and "
            "a port where needed, and nothing else: no path, no user, no query."
        )
    if port is not None and not 0 < port < 65_536:
        raise FullStoryInputError(f"The port of connection {conn_id!r} is {port}; it must be 1 to 65535.")
    if url.scheme == "http" and not _is_loopback(name):
        raise FullStoryInputError(
            f"Connection {conn_id!r} would send its API key unencrypted to {name!r}: only https is allowed, "
            "except to this machine itself (localhost)."
        )
    netloc = f"[{name}]" if ":" in name else name
    return f"{url.scheme}://{netloc}:{port}" if port else f"{url.scheme}://{netloc}"


def _proxy(conn_id: str, value: object, base_url: str) -> str | None:
    """Return the URL of the proxy; messages never quote it, since it may hold a password."""
    if value:
        if not isinstance(value, str) or not _is_proxy(value):
            raise FullStoryInputError(
                f"The proxy of connection {conn_id!r} (in its extra) is not the URL of an HTTP proxy. Write "
                f"it as {_PROXY_FORM}. Nothing was sent."
            )
        return None if _is_local(base_url) else value
    found = None if _is_local(base_url) else select_proxy(base_url, get_environ_proxies(base_url))
    if not found:
        return None
    proxy = found if "://" in found else f"http://{found}"
    if not _is_proxy(proxy):
        raise FullStoryInputError(
            "The proxy of the environment (HTTPS_PROXY or ALL_PROXY) is not the URL of an HTTP proxy. Write "
            f"it as {_PROXY_FORM}; or set the proxy of connection {conn_id!r}. Nothing was sent."
        )
    return proxy


def _is_proxy(text: str) -> bool:
    try:
        url = urlsplit(text)
        user, _, address = url.netloc.rpartition("@")
        # An Authorization header of a proxy holds characters of Latin-1 only.
        unquote(user, errors="strict").encode("latin-1")
        # Nothing can listen at port 0.
        has_port = url.port != 0
    except ValueError:
        return False
    return (
        url.scheme in ("http", "https")
        and has_port
        and _is_host(url.hostname or "")
        and text.isprintable()
        and not re.search(r"[\s\\]", text)
        and "@" not in user
        and bool(address)
        and (url.path, url.query, url.fragment) in (("", "", ""), ("/", "", ""))
    )


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
    try:
        is_file = Path(str(value)).is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        raise FullStoryInputError(
            f"The ca_bundle of connection {conn_id!r} is not a file on this machine: {value}."
        )
    return str(value)


def _is_local(base_url: str) -> bool:
    return _is_loopback(urlsplit(base_url).hostname or "")


def _is_host(name: str) -> bool:
    if ":" not in name:
        return _HOST_NAME.fullmatch(name) is not None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
