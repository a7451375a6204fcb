"""Each example explains itself in Airflow's UI."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "example_dags").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_text_of_an_example_is_shown_with_its_dags(example: Path) -> None:
    tree = ast.parse(example.read_text())
    assert ast.get_docstring(tree)
    dags = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"DAG", "dag"}
    ]
    assert dags
    for dag in dags:
        assert [ast.unparse(keyword.value) for keyword in dag.keywords if keyword.arg == "doc_md"] == [
            "__doc__"
        ]
