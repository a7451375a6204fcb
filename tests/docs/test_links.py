"""Links within the repository lead somewhere, and the reference has all that is public."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.docs.pages import PAGES, ROOT, name_of

if TYPE_CHECKING:
    from pathlib import Path

OWN = "https://github.com/airflow-provider-fullstory/airflow-provider-fullstory/"
WITH_LINKS = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
REFERENCE = ROOT / "docs" / "reference"
_LINK = re.compile(r"\]\((?P<target>[^)\s#]*)(?:#(?P<anchor>[^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub and the documentation's generator make of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WITH_LINKS, ids=name_of)
def test_a_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for match in _LINK.finditer(page.read_text()):
        target, anchor = match["target"], match["anchor"]
        if target.startswith(OWN) and (parts := target.removeprefix(OWN).split("/", 2))[0] in {
            "blob",
            "tree",
        }:
            path = ROOT / parts[2]
        elif "://" in target or target.startswith("mailto:"):
            continue
        else:
            path = page.parent / target if target else page
        assert path.exists(), match[0]
        assert not anchor or anchor in anchors(path), match[0]


def test_links_of_the_readme_work_on_a_package_index_too() -> None:
    targets = [match["target"] for match in _LINK.finditer((ROOT / "README.md").read_text())]
    assert [target for target in targets if not target.startswith("https://")] == []


def test_the_reference_has_all_public_classes() -> None:
    registry = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
    classes = [name for kind in registry.values() if isinstance(kind, list) for name in map(str, kind)]
    text = "".join(page.read_text() for page in REFERENCE.glob("*.md"))
    found = {name.rpartition(".")[2] for name in re.findall(r"autoclass:: (\S+)", text)}
    wanted = {match for name in classes for match in re.findall(r"\bFullStory\w+", name)}
    assert wanted
    assert wanted <= found, wanted - found


def test_the_reference_has_all_examples() -> None:
    shown = re.findall(r"{literalinclude} \S*example_dags/(\w+)\.py", (REFERENCE / "examples.md").read_text())
    assert sorted(shown) == sorted(path.stem for path in (ROOT / "example_dags").glob("*.py"))


def test_the_front_page_leads_to_each_page() -> None:
    front = (ROOT / "docs" / "index.md").read_text()
    pages = {
        str(page.relative_to(ROOT / "docs").with_suffix("")) for page in (ROOT / "docs").rglob("*.md")
    } - {"index"}
    linked = {match["target"].removesuffix(".md") for match in _LINK.finditer(front)}
    contents = "\n".join(re.findall(r"^```{toctree}\n(.*?)^```$", front, re.MULTILINE | re.DOTALL))
    # GitHub, where the pages are read too, does not show the table of contents.
    assert pages <= linked
    assert pages == set(re.findall(r"^[a-z].*$", contents, re.MULTILINE))
