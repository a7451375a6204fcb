"""How a hook reads the settings of its Airflow connection, in a task and in a triggerer's event loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, Connection
from asgiref.sync import sync_to_async

from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import (
    FullStoryConnectionLookupError,
    FullStoryError,
    FullStoryInputError,
    FullStoryMissingConnectionError,
)
from airflow_provider_fullstory.hooks.settings import Settings

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook
    from airflow.sdk.log import mask_secret
else:
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:
        # Airflow 2.
        from airflow.utils.log.secrets_masker import mask_secret

#: Since Airflow 3.3.2 a connection masks its secrets without blocking the event loop.
_IS_ASYNC = hasattr(Connection, "aextra_dejson")


def settings_of(hook: BaseHook, conn_id: str) -> Settings:
    """
    Look up a connection and return its settings.

    :raises FullStoryInputError: If there is no connection, or a value of it cannot work.
    :raises FullStoryConnectionLookupError: If Airflow cannot look it up at the moment.
    """
    try:
        connection = hook.get_connection(conn_id)
        return _settings(connection, connection.extra_dejson)
    except Exception as error:  # noqa: BLE001 - A secrets backend may raise anything.
        failure = _failure(error, conn_id)
    # Raised here, since the error of a secrets backend may hold secrets.
    raise failure


async def async_settings_of(hook: BaseHook, conn_id: str) -> Settings:
    """Return the settings of a connection without blocking the event loop; see :func:`settings_of`."""
    try:
        connection = await get_async_connection(conn_id, hook)
        extra = await get_async_extra(connection)
        return await sync_to_async(_settings)(connection, extra)
    except Exception as error:  # noqa: BLE001 - A secrets backend may raise anything.
        failure = _failure(error, conn_id)
    raise failure


async def get_async_connection(conn_id: str, hook: BaseHook) -> Connection:
    """
    Return a connection without blocking the event loop.

    Before Airflow 3.3.2, the asynchronous look-up masks secrets with a blocking call, which Airflow does
    not allow in an event loop.
    """
    if _IS_ASYNC:
        return await hook.aget_connection(conn_id)
    return await sync_to_async(hook.get_connection)(conn_id)


async def get_async_extra(connection: Connection) -> Any:
    """Return a connection's extra without blocking the event loop."""
    if _IS_ASYNC:
        return await connection.aextra_dejson()
    return await sync_to_async(lambda: connection.extra_dejson)()


def _settings(connection: Connection, extra: Any) -> Settings:
    settings = Settings.from_connection(connection, extra)
    # Airflow itself masks the connection's password, but no password within a URL of the extra.
    for secret in settings.proxy_secrets:
        mask_secret(secret)
    return settings


def _failure(error: Exception, conn_id: str) -> FullStoryError:
    if isinstance(error, FullStoryError):
        return error
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if os.environ.get(variable) and not _is_readable_in_environment(conn_id):
        return FullStoryInputError(
            f"The environment variable {variable} cannot be read as a connection. In a URI, characters such "
            f"as / of the API key must be percent-encoded (%2F). JSON needs no encoding: {_example(variable)}"
        )
    if isinstance(error, AirflowNotFoundException):
        return FullStoryMissingConnectionError(
            f"Airflow has no connection {conn_id!r}. Add one of type 'fullstory', with the API key as its "
            f"password, for example: airflow connections add {conn_id} --conn-type fullstory --conn-password "
            "<API key>. Outside a running task (preview(), a script, a notebook), Airflow 3 sees connections "
            f"of the environment only, not those of its UI and database: set {_example(variable)}"
        )
    return FullStoryConnectionLookupError(
        f"Airflow could not look up connection {conn_id!r} ({type(error).__name__}: {quoted(error)}). Check "
        "the secrets backend, and Airflow's API server."
    )


def _is_readable_in_environment(conn_id: str) -> bool:
    """Return whether Airflow can parse the variable; if not, it silently asks other backends."""
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    try:
        EnvironmentVariablesBackend().get_connection(conn_id)
    except Exception:  # noqa: BLE001 - Parsing may raise anything; what it raises may hold the key.
        return False
    return True


def _example(variable: str) -> str:
    return f"""{variable}='{{"conn_type": "fullstory", "password": "<API key>"}}'"""
