"""The command `python -m demo.screenshots`: take the pictures of the documentation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.browser import history, open_connection_form, open_page
from demo.processes import wait_for
from demo.services import running_services, temporary_directory

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.services import Services

HISTORY_DAGS = Path(__file__).with_name("history_dags")
DAG_ID = "orders"
#: The runs of the pictures: most are good, one lets refusals pass, one fails.
RUNS: tuple[dict[str, Any], ...] = (
    *({"orders": orders} for orders in (8_200, 9_100, 8_800, 9_600)),
    {"orders": 9_900, "anonymous": 420},
    *({"orders": orders} for orders in (9_400, 10_300)),
    {"orders": "many"},
    *({"orders": orders} for orders in (11_200, 10_700)),
)


def main() -> int:
    """Take the pictures, and return the exit code."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_directory() as directory, running_services(directory, 0, HISTORY_DAGS) as services:
        services.airflow.wait_until_healthy()
        services.airflow.wait_for_dag(DAG_ID)
        for conf in RUNS:
            _run(services, conf)
        with open_page(services.airflow.api.url) as page:
            _take_pictures(page, services, folder)
    return 0


def _run(services: Services, conf: dict[str, Any]) -> None:
    """Run the DAG to its end, whatever that is."""
    airflow = services.airflow
    run_id = airflow.api.trigger(DAG_ID, conf)
    wait_for(
        "the run to end",
        lambda: airflow.api.run_state(DAG_ID, run_id) in {"success", "failed"},
        airflow.components.values(),
    )


def _take_pictures(page: Page, services: Services, folder: Path) -> None:
    url = services.airflow.api.url
    for theme in ("light", "dark"):
        page.goto(f"{url}/dags/{DAG_ID}/plugin/fullstory-imports-of-dag")
        page.evaluate(f"localStorage.setItem('theme', '{theme}')")
        page.reload()
        history(page).get_by_text("Green, with").wait_for()
        page.screenshot(path=folder / f"history-{theme}.png")
    page.evaluate("localStorage.setItem('theme', 'light')")
    open_connection_form(page, url)
    page.get_by_role("dialog").screenshot(path=folder / "connection-form.png")
    page.goto(services.emulator.url)
    page.screenshot(path=folder / "emulator.png")


if __name__ == "__main__":
    sys.exit(main())
