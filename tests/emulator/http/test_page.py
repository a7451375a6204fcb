from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


class Tables(HTMLParser):
    """The text of all cells, by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
            self._is_in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._is_in_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] += data


def opened(emulator) -> str:
    with urlopen(Request(emulator.url, headers={"Accept": BROWSER}), timeout=30) as answer:
        assert answer.headers.get_content_type() == "text/html"
        return answer.read().decode()


def test_a_browser_sees_jobs_records_and_the_quota(api, fullstory_emulator):
    api.post_events({"name": "Bought", "properties": {"total": 5}}, {"name": ""})
    rows = Tables(opened(fullstory_emulator)).rows
    (job,) = fullstory_emulator.jobs()
    assert [job["id"], "events", "FAILED", "2", "1", "1"] in [row[1:] for row in rows]
    (record,) = [row[1] for row in rows if len(row) == 2 and row[0] == job["id"]]
    assert '"Bought"' in record
    facts = dict(row for row in rows if len(row) == 2)
    assert facts["Server event quota"].startswith("1 of 1,000,000,000 until 20")


def test_a_browser_sees_what_is_ordered(fullstory_emulator):
    fullstory_emulator.order_fault(method="POST", path="/v2/events/batch", times=2, status=503)
    fullstory_emulator.order_rejection("properties.order_id", values=[3], code="user_not_found")
    page = opened(fullstory_emulator)
    cells = [cell for row in Tables(page).rows for cell in row]
    assert any('"status":503' in cell for cell in cells)
    assert any("properties.order_id" in cell for cell in cells)


def test_what_was_sent_is_text_and_nothing_else(api, fullstory_emulator):
    api.post_events({"name": "<script>alert(1)</script>"})
    page = opened(fullstory_emulator)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_holds_no_key(api, fullstory_emulator):
    api.post_events({"name": "A"})
    assert not [key for key in fullstory_emulator.keys if key in opened(fullstory_emulator)]


def test_many_jobs_show_the_latest(api, fullstory_emulator):
    for number in range(25):
        api.post_events({"name": f"Event {number}"})
    names = re.findall(r"Event (\d+)", opened(fullstory_emulator))
    assert names == [str(number) for number in range(24, 4, -1)]


def test_a_client_of_the_api_gets_the_answer_of_fullstory(fullstory_emulator):
    with pytest.raises(HTTPError) as caught:
        urlopen(fullstory_emulator.url, timeout=30)
    assert caught.value.code == 401


def test_a_browser_sees_users_as_they_are_now(api, fullstory_emulator):
    for number in range(25):
        api.import_users({"uid": f"u{number}", "display_name": f"User {number}"})
    api.import_users({"uid": "u0", "properties": {"plan": "pro"}})

    page = opened(fullstory_emulator)

    users = page[page.index("<h2>Users</h2>") : page.index("<h2>Annotations</h2>")]
    assert re.findall(r"User (\d+)", users) == ["0", *(str(number) for number in range(24, 5, -1))]
    assert "pro" in users
    assert dict(row for row in Tables(page).rows if len(row) == 2)["Users"] == "25"


def test_many_annotations_show_the_latest(api, fullstory_emulator):
    for number in range(25):
        assert api.post("/v2/annotations", {"text": f"Mark {number}"}).ok
    marks = re.findall(r"Mark (\d+)", opened(fullstory_emulator))
    assert marks == [str(number) for number in range(24, 4, -1)]
