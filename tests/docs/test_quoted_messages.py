"""Messages by which the documentation tells what to do are the messages that people see."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "how-to" / "retry-and-recover.md"


def texts_in_the_code() -> list[str]:
    files = (ROOT / "airflow_provider_fullstory").rglob("*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_messages_of_the_guide_to_recovery_are_in_the_code() -> None:
    [*quotes] = re.findall(r'^\| "([^"]+)"', PAGE.read_text(), re.MULTILINE)
    assert quotes
    texts = texts_in_the_code()
    # What a message fills in stands as dots in the guide.
    parts = [part.strip(" ,") for quote in quotes for part in quote.split("...") if part.strip(" ,")]
    assert [part for part in parts if not any(part in text for text in texts)] == []
