"""What a running stage looks like: progress with an ETA on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from radisim_cl.records import events as ev
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import RunState
from radisim_cl.runs.scores import result
from radisim_cl.runs.tables import scorecard_table
from radisim_cl.specs.plan import Plan, StagePlan
from radisim_cl.train.loop import Step

EVERY_S = 20.0
"""Seconds between lines where there is no terminal."""


class Reporter:
    """Rank 0 speaks; the other ranks are quiet."""

    def __init__(self, plan: Plan, quiet: bool) -> None:
        self.plan, self.quiet = plan, quiet
        self.console = Console(quiet=quiet, width=None if Console().is_terminal else 160)
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"), TimeElapsedColumn(),
                            TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[told]}"), console=self.console,
                            disable=quiet or not self.console.is_terminal)
        self.task: TaskID | None = None
        self.label, self.spoke = "", 0.0
        self.mark: tuple[int, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Gives the terminal back, however the run ended."""
        self.bar.stop()

    def stage(self, stage: StagePlan, state: RunState) -> None:
        """A stage begins or goes on."""
        n = len(self.plan.stages)
        self.label = f"stage {state.stage + 1}/{n} {stage.spec.name}"
        self.console.print(f"[bold]{self.label}[/bold] {stage.spec.question}", highlight=False)
        self.mark, self.spoke = None, time.monotonic()
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task(self.label, total=state.target, completed=state.batch, told="")

    def step(self, step: Step, target: int) -> None:
        """After each training step."""
        if self.quiet or self.task is None:
            return
        now = time.monotonic()
        self.mark = self.mark or (step.batch, now)  # the first step after a pause is not timed
        rate = (step.batch - self.mark[0]) * self.plan.curriculum.scale.global_batch / max(now - self.mark[1], 1e-9)
        told = f"{rate:.0f} samples/s" + "".join(f"  loss {x:.3f}" for k, x in step.losses.items() if k == "total")
        told += "" if step.updated else f"  SKIPPED{f': {step.ailment}' if step.ailment else ''}"
        self.bar.start()
        self.bar.update(self.task, completed=step.batch, total=target, told=told)
        if step.batch == target:
            self.bar.stop()
        elif not self.console.is_terminal and now - self.spoke >= EVERY_S:
            left = (target - step.batch) * self.plan.curriculum.scale.global_batch / max(rate, 1e-9)
            self.console.print(f"{self.label}  step {step.batch}/{target}  {told}  ETA {left:.0f} s", highlight=False)
            self.spoke = now

    def scoring(self, split: str) -> None:
        """A split is about to be scored."""
        self.bar.stop()
        self.mark = None
        sealed = " (sealed until the run has finished)" if split == "report" else ""
        self.console.print(f"scoring the {split} split{sealed} ...", highlight=False)

    def look(self, card: Scorecard) -> None:
        """The gate split's scores."""
        names = [s.spec.name for s in self.plan.stages]
        taught = names[: names.index(card.stage) + 1] if card.stage else []
        self.console.print(scorecard_table(card, taught))

    def decided(self, event: ev.GateDecided) -> None:
        """A gate has spoken."""
        verdict = {True: "[green]passed", False: "[red]not passed", None: "[yellow]undecided"}[event.passed]
        self.console.print(f"gate of {event.stage}, look {event.look}: {verdict}[/] -> {event.decision}", highlight=False)
        for reason in event.reasons:
            self.console.print(f"  {reason}", highlight=False)

    def finished(self, run: Path, state: RunState) -> None:
        """The report split's scores, and where everything is."""
        if self.quiet:
            return
        self.console.print(scorecard_table(result(run, state)))
        not_passed = [n for n, s in state.accepted.items() if not s.passed]
        if not_passed:
            self.console.print(f"[yellow]accepted without having passed their gates: {', '.join(not_passed)}")
        self.console.print(f"finished: {run}  (models in {run}/export, scores in {run}/scores)", highlight=False)
