"""An ablation: curricula by seeds, each run in a directory and a process of its own. What is missing is run, what was cut goes on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from radisim_cl.errors import InputError, Interrupted
from radisim_cl.files import library_file
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.records.state import RunState, fold
from radisim_cl.runs.planning import plan
from radisim_cl.specs.curriculum import CurriculumSpec, YokedSpec

EVERY_S = 1.0
"""Seconds between looks at the ledgers."""


@dataclass(frozen=True)
class Variant:
    """One of the things that are compared.

    Attributes:
        curriculum: its file or name, as given.
        options: of `radisim-cl run`, all but the seed and the directory.
        spec: what they come to.
        steps: that a run of it takes, if no gate lengthens it; 0 where another run's lengths say.
    """

    curriculum: str
    options: tuple[str, ...]
    spec: CurriculumSpec
    steps: int


@dataclass
class Run:
    """One seed of one variant.

    Attributes:
        folder: its directory; what it says goes to a file beside it.
        arguments: of `radisim-cl run`.
        batch: pairs a step.
        planned: steps; 0 where `after` says.
        after: the run whose lengths it takes.
        process: while it is at work, or how it ended.
        error: the last thing it said, when it failed.
        state: by its ledger.
        began: when its process did, by `time.monotonic`, and the steps that it found done.
    """

    folder: Path
    arguments: list[str]
    batch: int
    planned: int
    after: Run | None = None
    process: subprocess.Popen[bytes] | None = None
    error: str = ""
    state: RunState = field(default_factory=RunState)
    began: tuple[float, int] = (0.0, 0)

    @property
    def log(self) -> Path:
        """What its processes have said."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def finished(self) -> bool:
        """Whether all its stages are accepted."""
        return self.state.status == "finished"

    @property
    def working(self) -> bool:
        """Whether its process is at work."""
        return self.process is not None and self.process.poll() is None

    def look(self) -> None:
        """Reads its ledger, which may not be there yet."""
        self.state = fold(read(self.folder)[0]) if (self.folder / "ledger.jsonl").is_file() else RunState()

    def start(self, environment: dict[str, str]) -> None:
        """Starts its process, out of reach of the terminal's Ctrl-C: that is passed on as SIGTERM, once."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.error, self.began = "", (time.monotonic(), self.state.total)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "radisim_cl", *self.arguments], stdout=log, stderr=subprocess.STDOUT,
                                            env=environment, start_new_session=True)

    def end(self) -> None:
        """Takes down how its process ended."""
        events = read(self.folder)[0] if (self.folder / "ledger.jsonl").is_file() else []
        self.state = fold(events)
        if not self.finished:
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            told = events[-1].error if events and isinstance(events[-1], ev.RunFailed) else lines[-1] if lines else "it said nothing"
            code = self.process.returncode if self.process else 0
            self.error = f"exit code {code}: {told} ({self.log})"


def options(profile: str | None, catalog: str | None, sets: Sequence[str] | None) -> list[str]:
    """What every run is started with."""
    named = [("--profile", profile), ("--catalog", catalog), *(("--set", s) for s in sets or ())]
    return [word for option, value in named if value for word in (option, value)]


def variant(curriculum: str, options: Sequence[str], spec: CurriculumSpec) -> Variant:
    """One of the things that are compared; it is planned once, so that what is wrong with it is said before anything runs.

    Raises:
        SpecError: every problem of its plan.
    """
    if isinstance(spec.control, YokedSpec):
        return Variant(curriculum, tuple(options), spec, 0)
    made = plan(spec, library_file("curricula", curriculum, Path()).resolve().parent)
    spare = made.reserve * (spec.scale.budget.unspent == "last_stage")
    return Variant(curriculum, tuple(options), made.curriculum, sum(s.batches for s in made.stages) + spare)


def runs(variants: Sequence[Variant], seeds: int, home: Path) -> list[Run]:
    """Every run of an ablation, the seeds of a curriculum one after another.

    A yoked curriculum takes the lengths of the first curriculum's run of the same seed.

    Args:
        variants: the reference first.
        seeds: how many, from 1.
        home: the ablation's directory.

    Raises:
        InputError: two variants of one name, or a yoked one first.
    """
    names = [v.spec.name for v in variants]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise InputError(f"two curricula have the name {twice!r}, which names the directories of their runs; change one")
    if isinstance(variants[0].spec.control, YokedSpec):
        raise InputError(f"{names[0]!r} takes the lengths of another curriculum's runs; name that one first")
    out: list[Run] = []
    for v in variants:
        for seed in range(1, seeds + 1):
            folder = home / f"{v.spec.name}-seed{seed}"
            partner = out[seed - 1] if isinstance(v.spec.control, YokedSpec) else None
            yoke = ["--set", f"control.run={partner.folder}"] if partner else []
            arguments = ["run", v.curriculum, *v.options, *yoke, "--set", f"seed={seed}", "--out", str(folder)]
            out.append(Run(folder, arguments, v.spec.scale.global_batch, v.steps, partner))
    return out


def slurm(all_: Sequence[Run], home: Path) -> str:
    """A Slurm job array, a run a task, which is queued again where it was when its time is up.

    Raises:
        InputError: a run takes the lengths of another one, which a task cannot wait for.
    """
    if after := next((r for r in all_ if r.after), None):
        raise InputError(f"{after.folder.name} takes the lengths of another run, and the tasks of an array do not wait for each other; leave its "
                         "curriculum out here, and name it in a second ablation of the same --out when these have finished")
    tasks = "\n".join(f"  {i}) set -- {shlex.join(r.arguments)} ;;" for i, r in enumerate(all_))
    return _SLURM.format(name=home.name, last=len(all_) - 1, tasks=tasks, home=shlex.quote(str(home)))


_SLURM = """#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --nodes=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
# A run a task. Five minutes before the time is up the run is told to stop: it is saved, and its task is queued again.
set -uo pipefail
case "$SLURM_ARRAY_TASK_ID" in
{tasks}
esac
srun --kill-on-bad-exit=0 python -m radisim_cl "$@" &
step=$!
trap 'kill -USR1 "$step"' USR1 TERM # srun passes it on
while :; do
  wait "$step"
  code=$?
  if [ "$code" -le 128 ] || ! kill -0 "$step" 2> /dev/null; then break; fi # a signal ends `wait`, not the step
done
if [ "$code" -eq 75 ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"; fi
exit "$code"
"""


class Ablation:
    """Keeps some runs at work until all have ended, and shows where they are."""

    def __init__(self, all_: Sequence[Run], jobs: int, console: Console) -> None:
        """
        Args:
            all_: from `runs`.
            jobs: runs at work at a time.
            console: where the table is shown.
        """
        self.runs, self.jobs, self.console = list(all_), jobs, console
        self.received = ""
        self.environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs)), **os.environ} if jobs > 1 else dict(os.environ)

    def go(self) -> list[Run]:
        """Runs what has not finished; those that still have not, each with its error.

        Raises:
            Interrupted: a signal arrived; the runs at work have saved.
        """
        before = {s: signal.signal(s, self._stop) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
        try:
            live = Live(console=self.console, get_renderable=self.table, refresh_per_second=1 / EVERY_S)
            with live if self.console.is_terminal else nullcontext():
                self._work()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.received:
            raise Interrupted(f"stopped by {self.received}; the runs at work have saved, and the same command goes on")
        return [r for r in self.runs if not r.finished]

    def _work(self) -> None:
        for run in self.runs:
            run.look()
        waiting, working = [r for r in self.runs if not r.finished], list[Run]()
        while waiting or working:
            if self.received:
                waiting.clear()
            for run in list(waiting):
                if run.after and run.after.error:
                    run.error = f"{run.after.folder.name}, whose lengths it takes, has not finished"
                    waiting.remove(run)
                elif len(working) < self.jobs and (run.after is None or run.after.finished):
                    run.start(self.environment)
                    waiting.remove(run)
                    working.append(run)
                    self._say(f"{run.folder.name} started: {run.log}")
            time.sleep(EVERY_S)
            for run in list(working):
                if run.working:
                    run.look()
                else:
                    run.end()
                    working.remove(run)
                    self._say(f"{run.folder.name} " + (f"failed: {run.error}" if run.error else "finished"))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name
        self._end()

    def _end(self) -> None:
        """Asks the runs at work to save and stop."""
        for run in self.runs:
            if run.working and run.process:
                run.process.send_signal(signal.SIGTERM)

    def _say(self, line: str) -> None:
        if not self.console.is_terminal:
            self.console.print(line, highlight=False, soft_wrap=True)

    def table(self) -> Table:
        """Where every run is, by its ledger."""
        table = Table()
        for column in ("run", "", "stage", "samples", "of", "ETA"):
            table.add_column(column, justify="right" if column in ("samples", "of", "ETA") else "left")
        for run in self.runs:
            done, of = run.state.total, run.planned or (run.after.state.total if run.after else 0)
            status = run.error or ("finished" if run.finished else run.state.status if run.working else "waiting")
            seconds, new = time.monotonic() - run.began[0], done - run.began[1]
            left = f"{(of - done) * seconds / new / 60:.0f} min" if run.working and new > 0 and of > done else ""
            table.add_row(run.folder.name, status, run.state.name if run.state.names else "", f"{done * run.batch:,}", f"{of * run.batch:,}", left)
        return table
