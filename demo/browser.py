"""A browser that looks at Airflow's UI, and at the emulator's page, as people do."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import FrameLocator, Page

#: The first call to some parts of Airflow's API server makes it busy for seconds.
TIMEOUT_SECONDS = 90


@contextmanager
def open_browser() -> Iterator[Page]:
    """Open an empty page in the Chromium of the system."""
    with sync_playwright() as playwright:
        # Its sandbox does not work for root; no page of another machine is opened.
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--no-proxy-server"]
        )
        # Without a color scheme of its own, a frame has that of Airflow.
        page = browser.new_page(viewport={"width": 1400, "height": 1000}, color_scheme="null")
        page.set_default_timeout(TIMEOUT_SECONDS * 1000)
        yield page
        browser.close()


@contextmanager
def open_page(airflow_url: str) -> Iterator[Page]:
    """Open Airflow's UI in a browser, as an administrator, which everybody has to be."""
    with open_browser() as page:
        # Airflow 3.1 leads who has just logged in to its first page, whatever was asked for.
        page.goto(airflow_url)
        page.get_by_role("link", name="Home").first.wait_for()
        yield page


def open_connection_form(page: Page, airflow_url: str) -> None:
    """Open the form of a new connection to FullStory."""
    page.goto(f"{airflow_url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    kind = page.get_by_role("dialog").get_by_role("combobox").last
    kind.fill("fullstory")
    kind.press("Enter")
    page.get_by_role("dialog").get_by_text("API key").wait_for()


def history(page: Page) -> FrameLocator:
    """Return the history of imports, once Airflow's UI shows it."""
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name="FullStory imports").wait_for()
    return frame
