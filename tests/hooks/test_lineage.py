"""What a hook reports to Airflow's collector of lineage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat import sdk
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_provider_fullstory.exceptions import FullStoryBadRequestError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.hooks.lineage import is_collected
from demo.services import AIRFLOW_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient

if AIRFLOW_VERSION >= (3, 2):
    from airflow.sdk.lineage import HookLineageCollector
else:
    from airflow.lineage.hook import HookLineageCollector


BODY = json.dumps({"requests": [{"name": "Order", "user": {"uid": "u"}}]}).encode()


@pytest.fixture(autouse=True)
def nobody_has_looked_yet() -> Iterator[None]:
    is_collected.cache_clear()
    yield
    is_collected.cache_clear()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Collect lineage, as Airflow does where a plugin reads it."""
    made = HookLineageCollector()
    monkeypatch.setattr(sdk, "get_hook_lineage_collector", lambda: made, raising=False)
    return get_hook_lineage_collector()


def outputs(collector: Any) -> dict[str, int]:
    """Return how often each resource was written to."""
    return {info.asset.uri.rpartition("/")[2]: info.count for info in collector.collected_assets.outputs}


def test_each_write_names_its_asset(emulator: EmulatorClient, collector: Any) -> None:
    with FullStoryHook() as hook:
        hook.create_import("events", BODY, "key")
        hook.create_event("Order", user={"uid": "u"})
        user_id = hook.create_user(uid="u")
        hook.update_user(user_id, email="u@example.com")
        hook.create_annotation("Release")
        assert outputs(collector) == {"events": 2, "users": 2, "annotations": 1}
        uris = {info.asset.uri for info in collector.collected_assets.outputs}
        contexts = [info.context for info in collector.collected_assets.outputs]
    host = emulator.url.partition("://")[2]
    assert uris == {f"fullstory://{host}/{resource}" for resource in ("events", "users", "annotations")}
    assert all(context is hook for context in contexts)


def test_an_operator_reports_itself_what_it_imports(emulator: EmulatorClient, collector: Any) -> None:
    with FullStoryHook() as hook:
        hook.imports("events").create_import(BODY, "key")
    assert outputs(collector) == {}
    assert len(emulator.jobs()) == 1


def test_reads_and_refused_writes_are_no_output(emulator: EmulatorClient, collector: Any) -> None:
    with FullStoryHook() as hook:
        hook.get_account()
        list(hook.list_users())
        with pytest.raises(FullStoryBadRequestError):
            hook.create_import("events", b"not JSON", "key")
    assert outputs(collector) == {}


def test_a_collector_that_breaks_fails_no_write(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("A plugin is broken.")

    monkeypatch.setattr(sdk, "get_hook_lineage_collector", broken, raising=False)
    with FullStoryHook() as hook:
        hook.create_event("Order", user={"uid": "u"})
    assert len(emulator.events()) == 1
