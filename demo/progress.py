"""What is shown while the demo runs: a moving line on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


class Progress:
    """
    Tell what is going on, and measure the phases.

    :param console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._text = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        began = time.monotonic()
        self.say(f"{name} ...")
        with self._console.status(name) as self._status:
            yield
        self.seconds[name] = time.monotonic() - began

    def say(self, text: str) -> None:
        """Print a line, with the seconds since the start."""
        self._console.print(f"[dim]{time.monotonic() - self._start:5.1f} s[/]  {text}", soft_wrap=True)

    def show(self, text: str) -> None:
        """Show what changes often: in place on a terminal, else as a line whenever it is another one."""
        if text == self._text:
            return
        self._text = text
        if self._console.is_terminal:
            self._status.update(text)
        else:
            self.say(text)
