"""How far something is that takes a while: a bar with an ETA on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

EVERY_S = 20.0
"""Seconds between lines where there is no terminal."""


class Bars:
    """Called with what is being made, how many are done, and of how many; speaks on stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn(),
                            console=self.console, disable=not self.console.is_terminal, transient=True)
        self.tasks: dict[str, TaskID] = {}
        self.what, self.began, self.spoke = "", 0.0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the terminal back."""
        self.bar.stop()

    def __call__(self, what: str, done: int, of: int) -> None:
        """After each step."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.began, self.spoke = what, now, now
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what)
        self.bar.start()
        self.bar.update(self.tasks[what], completed=done, total=of, visible=done < of)
        if not self.console.is_terminal and now - self.spoke >= EVERY_S and done < of:
            self.console.print(f"{what}: {done:,}/{of:,}  ETA {(now - self.began) * (of - done) / done:.0f} s", highlight=False)
            self.spoke = now
