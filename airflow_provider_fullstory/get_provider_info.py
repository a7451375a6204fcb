"""The provider's metadata, which Airflow reads before it imports the rest."""

# Airflow calls this while it configures itself: nothing of Airflow may be imported here.
from __future__ import annotations

from typing import Any

from airflow_provider_fullstory import __version__

NAME = "FullStory"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's provider_info schema."""

    def modules(kind: str) -> list[dict[str, Any]]:
        return [
            {"integration-name": NAME, "python-modules": [f"airflow_provider_fullstory.{kind}.fullstory"]}
        ]

    return {
        "package-name": "airflow-provider-fullstory",
        "name": NAME,
        "description": "Batch imports into `FullStory <https://www.fullstory.com/>`__, and annotations.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": NAME,
                "external-doc-url": "https://developer.fullstory.com/server/getting-started/",
                "tags": ["service"],
            }
        ],
        "hooks": modules("hooks"),
        "operators": modules("operators"),
        "sensors": modules("sensors"),
        "triggers": modules("triggers"),
        "notifications": ["airflow_provider_fullstory.notifications.fullstory.FullStoryAnnotationNotifier"],
        "task-decorators": [
            {
                "class-name": f"airflow_provider_fullstory.decorators.fullstory.fullstory_{kind}_task",
                "name": f"fullstory_{kind}",
            }
            for kind in ("events", "users")
        ],
        "extra-links": ["airflow_provider_fullstory.ui.link.FullStoryImportHistoryLink"],
        "connection-types": [connection_type()],
        "asset-uris": [asset_uri()],
        # The name in Airflow 2.
        "dataset-uris": [asset_uri()],
        "config": {
            "fullstory": {
                "description": "Settings of the FullStory provider.",
                "options": {
                    "state_uri": {
                        "description": (
                            "Folder in any object storage where imports keep what a later try has to know: "
                            "which batches and annotations FullStory has, and the batches of operators with "
                            "``stage_batches=True``. It outlives Airflow's database. Without it, the state "
                            "is kept in Airflow's task state store (3.3 and newer), or not at all."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@bucket/fullstory",
                        "default": "",
                    }
                },
            }
        },
    }


def asset_uri() -> dict[str, Any]:
    """Return what handles the URIs of assets."""
    module = "airflow_provider_fullstory.assets.fullstory"
    return {
        "schemes": ["fullstory"],
        "handler": f"{module}.sanitize_uri",
        "factory": f"{module}.create_asset",
        "to_openlineage_converter": f"{module}.convert_asset_to_openlineage",
    }


def connection_type() -> dict[str, Any]:
    """Return the connection type and its form; the hook's methods for older Airflow read it from here."""
    return {
        "connection-type": "fullstory",
        "hook-class-name": "airflow_provider_fullstory.hooks.fullstory.FullStoryHook",
        "hook-name": NAME,
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "login", "extra"],
            "relabeling": {"password": "API key"},
            "placeholders": {
                "host": "api.fullstory.com, EU: api.eu1.fullstory.com, or the emulator's URL",
                # Airflow 3.3.1 and 3.3.2 test no stored connection without a port (apache/airflow#73298).
                "port": "443 (Airflow 3.3.1 and 3.3.2 need one for Test)",
                "password": "The key as FullStory shows it, e.g. na1.…/…",
            },
        },
        "conn-fields": {
            "timeout": {
                "label": "Timeout",
                "description": "Seconds without a byte after which a request is given up (default 120).",
                "schema": {"type": ["integer", "null"]},
            },
            "ca_bundle": {
                "label": "CA bundle",
                "description": "File of certificate authorities to trust instead of the usual ones.",
                "schema": {"type": ["string", "null"]},
            },
            "proxy": {
                "label": "Proxy",
                "description": "URL of an HTTP proxy; empty: the environment's HTTPS_PROXY.",
                "schema": {"type": ["string", "null"]},
            },
        },
    }
