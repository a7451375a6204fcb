"""
Write the map of modules in CONTRIBUTING.md: each folder and module with the summary of its docstring.

Usage: ``python -m tools.module_map``, or ``make map``.
"""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = "airflow_provider_fullstory"
PAGE = "CONTRIBUTING.md"

_START, _END = "<!-- The map starts here; make map writes it. -->", "<!-- The map ends here. -->"
_WIDTH = 118
_COLUMN = 30


def page_with_map(root: Path) -> str:
    """
    Return the text of CONTRIBUTING.md with the map of the current modules.

    :param root: Root of the repository.
    """
    text = (root / PAGE).read_text()
    before, _, rest = text.partition(_START)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"{PAGE} needs the lines {_START!r} and {_END!r}")
    lines = "\n".join(_lines(root / PACKAGE))
    return f"{before}{_START}\n\n```\n{lines}\n```\n\n{_END}{after}"


def _lines(folder: Path, depth: int = 0) -> Iterator[str]:
    yield from _entry(f"{folder.name}/", folder / "__init__.py", depth)
    for module in sorted(folder.glob("*.py")):
        if module.name != "__init__.py":
            yield from _entry(module.name, module, depth + 1)
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").is_file():
            yield from _lines(inner, depth + 1)


def _entry(name: str, module: Path, depth: int) -> list[str]:
    heading = f"{'  ' * depth}{name}".ljust(_COLUMN - 1) + " "
    return textwrap.wrap(_summary(module), _WIDTH, initial_indent=heading, subsequent_indent=" " * _COLUMN)


def _summary(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text()))
    if not docstring:
        raise ValueError(f"{module} has no docstring")
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return paragraph.removesuffix(".")


def main() -> None:
    """Run the command."""
    (ROOT / PAGE).write_text(page_with_map(ROOT))


if __name__ == "__main__":
    main()
