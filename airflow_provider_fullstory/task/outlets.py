"""The assets among the outlets of a task: where an import goes, and events that tell how it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_fullstory.assets.fullstory import SCHEME, uri_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

log = logging.getLogger(__name__)


def destination(outlets: Sequence[Any], resource: str, hook: FullStoryHook) -> Asset:
    """
    Return the asset that an import writes to.

    :param outlets: The outlets of the task; one of FullStory's for this resource says which asset it is.
    :param resource: ``events`` or ``users``.
    :param hook: Its host names the asset if no outlet does.
    """
    for outlet in outlets:
        if isinstance(outlet, Asset):
            uri = urlsplit(outlet.uri)
            if uri.scheme == SCHEME and uri.path == f"/{resource}":
                return outlet
    return Asset(uri=uri_at(hook.settings.base_url, resource))


def tell_outlets(outlets: Sequence[Any], context: Context, report: ImportReport, hook: FullStoryHook) -> None:
    """
    Put the counts of an import into the events of the outlets; Airflow makes these if the task succeeds.

    An alias gets an event of the asset that the import writes to. A failure is logged, and does not fail the
    task: FullStory has the records.
    """
    extra = counts_of(report)
    for outlet in outlets:
        try:
            event = context["outlet_events"][outlet]
            if isinstance(outlet, AssetAlias):
                event.add(destination(outlets, report.resource, hook), extra=extra)
            else:
                event.extra.update(extra)
        except TypeError:
            log.debug("Outlet %r is not an asset, so it has no event.", outlet)
        except Exception as error:  # noqa: BLE001 - Airflow looks up references to assets, which may fail anyhow.
            log.warning(
                "The import is complete, but the event of outlet %s will lack its counts. %s: %s",
                getattr(outlet, "uri", outlet),
                type(error).__name__,
                error,
            )


def counts_of(report: ImportReport) -> dict[str, Any]:
    """Return what the event of an asset holds: counts alone, since all who see the asset may see them."""
    return {
        "resource": report.resource,
        "records": report.records,
        "imported": report.imported,
        "invalid": report.invalid,
        "rejected": report.rejected,
        "skipped": report.skipped,
        "jobs": len(report.job_ids),
    }
