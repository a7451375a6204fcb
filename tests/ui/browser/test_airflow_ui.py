"""What Airflow's UI shows of this package, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from airflow_provider_fullstory.get_provider_info import connection_type
from demo.browser import TIMEOUT_SECONDS, history, open_connection_form
from tests.real_airflow.runs import assert_keeps_secrets

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

    from demo.services import Services
    from tests.real_airflow.runs import Run

expect.set_options(timeout=TIMEOUT_SECONDS * 1000)
#: Values of records, which Airflow must show nowhere.
NAMES = ("ada@example.com", "Charles Babbage", "Mary Somerville")


def task_of(run: Run, tab: str = "") -> str:
    """Return the address of the only task of a run in Airflow's UI."""
    [task] = run.tasks()
    url = run.services.airflow.api.url
    return f"{url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/{task.task_id}{tab}"


def text_of(page: Page, shown: str) -> str:
    """Return all text of a page, once it shows this."""
    expect(page.get_by_text(shown).first).to_be_visible()
    return page.locator("body").inner_text()


def path_of(frame: FrameLocator) -> str:
    """Return whose imports the history shows."""
    return " ".join(frame.get_by_role("navigation").inner_text().split())


def test_the_connection_form_helps_with_host_key_and_port(page: Page, services: Services) -> None:
    open_connection_form(page, services.airflow.api.url)
    form = page.get_by_role("dialog")
    placeholders = connection_type()["ui-field-behaviour"]["placeholders"]
    for field in ("host", "password", "port"):
        expect(form.locator(f"[name={field}]")).to_have_attribute("placeholder", placeholders[field])
    assert "api.eu1.fullstory.com" in placeholders["host"]
    assert "emulator" in placeholders["host"]
    for hidden in ("login", "schema"):
        expect(form.locator(f"[name={hidden}]")).to_have_count(0)


def test_rendered_fields_show_no_records(page: Page, letters: Run) -> None:
    page.goto(task_of(letters, "/rendered_templates"))
    text = text_of(page, "fullstory_default")
    assert "2 records" in text
    assert_keeps_secrets(text, letters.services.emulator, *NAMES)


def test_the_log_ends_with_the_report_and_shows_no_records(page: Page, letters: Run) -> None:
    page.goto(task_of(letters))
    text = text_of(page, "found here, never sent")
    assert "invalid_parameter: user.uid is empty" in text
    assert_keeps_secrets(text, letters.services.emulator, *NAMES)


def test_the_report_is_an_xcom(page: Page, letters: Run) -> None:
    page.goto(task_of(letters, "/xcom"))
    text = text_of(page, "return_value")
    assert_keeps_secrets(text, letters.services.emulator, *NAMES)


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/dags/orders", "All DAGs / orders"),
        ("/dags/orders/runs/{run_id}", "All DAGs / orders / {run_id}"),
        ("/dags/orders/tasks/import_orders", "All DAGs / orders / import_orders"),
        (
            "/dags/orders/runs/{run_id}/tasks/import_orders",
            "All DAGs / orders / {run_id} / import_orders",
        ),
    ],
    ids=["dag", "run", "task", "task instance"],
)
def test_the_history_has_a_tab(page: Page, orders: Run, place: str, shown: str) -> None:
    page.goto(orders.services.airflow.api.url + place.format(run_id=orders.run_id))
    page.get_by_role("link", name="FullStory imports").first.click()
    frame = history(page)
    expect(frame.get_by_text("Green, with 40 refused records")).to_be_visible()
    assert path_of(frame) == shown.format(run_id=orders.run_id)


def test_the_history_of_all_dags_leads_to_that_of_one(page: Page, orders: Run, letters: Run) -> None:
    page.goto(f"{orders.services.airflow.api.url}/plugin/fullstory-imports")
    frame = history(page)
    expect(frame.get_by_role("link", name="letters", exact=True)).to_be_visible()
    frame.get_by_role("link", name="orders", exact=True).first.click()
    # The login holds for what is followed within the frame.
    expect(frame.get_by_role("navigation")).to_have_text("All DAGs / orders", use_inner_text=True)
    expect(frame.get_by_role("link", name="letters", exact=True)).to_have_count(0)


def test_the_link_of_a_task_leads_to_its_imports(page: Page, orders: Run) -> None:
    page.goto(task_of(orders, "/details"))
    # With the whole address, it is the link that the task left; the tab beside it has only a path.
    url = orders.services.airflow.api.url
    link = page.locator(f'a[href^="{url}"]', has_text="FullStory imports")
    page.goto(link.get_attribute("href") or "")
    frame = history(page)
    expect(frame.get_by_text("Green, with 40 refused records")).to_be_visible()
    assert path_of(frame) == f"All DAGs / orders / {orders.run_id} / import_orders"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_history_has_the_theme_of_airflow(page: Page, orders: Run, theme: str) -> None:
    page.goto(f"{orders.services.airflow.api.url}/dags/orders/plugin/fullstory-imports-of-dag")
    page.evaluate(f"localStorage.setItem('theme', '{theme}')")
    page.reload()
    background = history(page).locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 17, 17)"}[theme]
