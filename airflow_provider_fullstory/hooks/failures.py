"""The error for a request that got no answer, in terms that both transports share."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.api.errors import NOT_ASKED_AGAIN
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryInputError,
    FullStoryTransportError,
    FullStoryUnreachableError,
)

if TYPE_CHECKING:
    from airflow_provider_fullstory.api.protocol import Call
    from airflow_provider_fullstory.hooks.settings import Settings
    from airflow_provider_fullstory.hooks.time_limit import TimeLimit

_PROXY_ADVICE = (
    " Check the proxy (the connection's extra, else the environment's HTTPS_PROXY), and the user and "
    "password in its URL."
)


@dataclasses.dataclass(frozen=True, slots=True)
class TransportErrors:
    """
    Types of errors of one transport.

    :param all: Errors that it raises if no answer arrives.
    :param unsent: Errors before a connection is made, so that not a byte of the request was sent.
    :param of_proxy: Errors that a proxy on the way causes.
    """

    all: tuple[type[Exception], ...]
    unsent: tuple[type[Exception], ...]
    of_proxy: tuple[type[Exception], ...]


def time_is_up(call: Call[Any]) -> FullStoryUnreachableError:
    """Return the error for a request that was not sent because the deadline has passed."""
    return FullStoryUnreachableError(f"Could not {call.purpose}: time was up before the request was sent.")


def transport_error(
    call: Call[Any], settings: Settings, error: BaseException, limit: TimeLimit, errors: TransportErrors
) -> FullStoryTransportError | FullStoryInputError:
    """Return the error for a request that got no answer, without the password of a proxy."""
    causes = _causes(error)
    cause = causes[-1]
    if isinstance(cause, ssl.SSLCertVerificationError):
        return FullStoryInputError(
            f"The certificate of {settings.base_url} is not trusted ({quoted(cause.verify_message)}). Where "
            "a proxy re-encrypts the traffic, name its authority in the connection's extra: ca_bundle."
        )
    reason = f"{type(error).__name__}: {quoted(cause, settings.secrets)}"
    if not limit.left:
        reason = f"none was complete after {limit.passed:.0f} s, the longest this request may take"
    way = f" through the proxy {settings.proxy_name}" if settings.proxy else ""
    advice = _PROXY_ADVICE if any(isinstance(one, errors.of_proxy) for one in causes) else ""
    is_unsent = any(isinstance(one, errors.unsent) for one in causes)
    error_type = FullStoryUnreachableError if is_unsent else FullStoryTransportError
    if not is_unsent and call.repeatable_for <= 0:
        advice += f" {NOT_ASKED_AGAIN}"
    return error_type(
        f"Could not {call.purpose}: no answer from {settings.base_url}{way} ({reason}).{advice}"
    )


def _causes(error: BaseException) -> list[BaseException]:
    causes = [error]
    # Errors of earlier attempts are part of the chain, behind the error that they became.
    while (following := causes[-1].__cause__ or causes[-1].__context__) and not isinstance(
        following, FullStoryError
    ):
        causes.append(following)
    return causes
