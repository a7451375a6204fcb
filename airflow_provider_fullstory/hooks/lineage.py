"""What hooks tell Airflow's collector of lineage: which assets a task wrote to."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.assets.fullstory import RESOURCES, uri_at

if TYPE_CHECKING:
    from airflow_provider_fullstory.api.http import Request
    from airflow_provider_fullstory.hooks.settings import Settings

log = logging.getLogger(__name__)
#: Uploads end in several threads, and the collector takes one at a time.
_LOCK = threading.Lock()


def get_collector() -> Any:
    """Return Airflow's collector of lineage; the first time, this loads all plugins of Airflow."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    return get_hook_lineage_collector()  # type: ignore[no-untyped-call]


@cache
def is_collected() -> bool:
    """
    Return whether somebody reads what the collector is told.

    On Airflow 2, each look at a collector that nobody reads leaves garbage that holds the frames of its
    caller, and so the body of the request. So there is one look, from a thread, which has no caller.
    """
    with ThreadPoolExecutor(1) as thread:
        return type(thread.submit(get_collector).result()).__name__ != "NoOpCollector"


def report_write(hook: object, settings: Settings, request: Request) -> None:
    """
    Report the asset that a request has written to, if it is one that writes.

    A failure is logged, and nothing else: FullStory has what was written.
    """
    resource = request.path.split("/")[2] if request.path.startswith("/v2/") else ""
    if request.method == "GET" or resource not in RESOURCES:
        return
    try:
        with _LOCK:
            if is_collected():
                collector = get_collector()
                collector.add_output_asset(context=hook, uri=uri_at(settings.base_url, resource))
    except Exception as error:  # noqa: BLE001 - Plugins may replace the collector.
        log.debug("Airflow's collector of lineage took no report. %s: %s", type(error).__name__, error)
