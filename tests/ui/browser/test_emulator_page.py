"""The emulator's page in a browser: it shows what arrives, by itself, and runs none of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from demo.browser import TIMEOUT_SECONDS, open_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from airflow_provider_fullstory.emulator.client import EmulatorClient

expect.set_options(timeout=TIMEOUT_SECONDS * 1000)


@pytest.fixture
def page(fullstory_emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", fullstory_emulator.connection_json())
    with open_browser() as page:
        page.goto(fullstory_emulator.url)
        yield page


def send(*names: str) -> None:
    """Send a batch of events; those without a name are rejected."""
    events = [{"name": name, "user": {"uid": "customer-1"}} for name in names]
    with FullStoryHook() as hook:
        hook.create_import("events", json.dumps({"requests": events}).encode(), idempotency_key=names[0])


def test_what_arrives_is_shown_without_a_reload(page: Page, fullstory_emulator: EmulatorClient) -> None:
    expect(page.get_by_role("heading", name="FullStory emulator")).to_be_visible()
    expect(page.get_by_text("None.").first).to_be_visible()
    send("Order Placed", "")
    (job,) = fullstory_emulator.jobs()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="events", exact=True))
    expect(row).to_contain_text(job["id"])
    expect(row.locator(".refused")).to_have_text("1")
    expect(page.get_by_text("Order Placed")).to_be_visible()
    send("Order Shipped")
    expect(page.get_by_text("Order Shipped")).to_be_visible()


def test_what_was_sent_does_not_run(page: Page) -> None:
    name = "<img src=x onerror=\"document.title='broken'\">"
    send(name)
    expect(page.get_by_text("onerror")).to_be_visible()
    assert page.locator("img").count() == 0
    assert page.title() == "FullStory emulator"


def test_a_long_record_does_not_widen_the_page(page: Page) -> None:
    send("x" * 250)
    expect(page.get_by_text("xxx")).to_be_visible()
    width, shown = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= shown
