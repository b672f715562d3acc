"""What a run spends on neither training nor scoring, as a share of its time after start-up.

    make perf                      # a run of some ten minutes on two cores
    python perf/share.py 200000    # with a budget of so many samples
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from radisim_cl.report.write import write
from radisim_cl.runs import checkpoints, runner, scores
from radisim_cl.runs.directory import create
from radisim_cl.runs.planning import plan
from radisim_cl.specs.curriculum import load

SAMPLES = 40_000
"""The run's budget, unless another is asked for."""
TRAINING, SCORING, ASKED = "training", "scoring", 0.01
"""What the time after start-up is for; the share that may go to anything else."""
PAGE = "the page"
CALLS = {
    SCORING: [(runner.Runner, "_score"), (scores, "unseal")],
    "saving checkpoints": [(checkpoints, "save")], "deciding at gates": [(runner.Runner, "_decide")], "exports": [(runner, "export")],
}
"""What is timed, by what it is for: answers of both splits and the scorecards made from them; the rest is neither training nor scoring."""
Spent = defaultdict[str, float]


def timed(spent: Spent, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, whose time is added up."""
    @functools.wraps(call)
    def measured(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            spent[what] += time.perf_counter() - start
    return measured


def steps(spent: Spent, stage: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The same steps, of which the time that each takes is added up, and not what happens between them."""
    def measured(*args: Any) -> Iterator[Any]:
        made = stage(*args)
        yield from iter(timed(spent, TRAINING, functools.partial(next, made, None)), None)
    return measured


def main() -> None:
    """Prints a table of shares."""
    spent, samples = Spent(float), int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    for what, owner, name in (("run", runner.Runner, "go"), *((what, *call) for what, calls in CALLS.items() for call in calls)):
        setattr(owner, name, timed(spent, what, getattr(owner, name)))
    vars(runner)["train_stage"] = steps(spent, vars(runner)["train_stage"])
    with tempfile.TemporaryDirectory() as home:
        run = Path(home) / "run"
        create(plan(load("radiologist", [f"profiles.laptop.budget.samples={samples}"])), run, nproc=1)
        runner.resume(run)
        timed(spent, PAGE, write)(run)
    total = spent["run"] + spent[PAGE]
    rest = total - spent[TRAINING] - spent[SCORING]
    table = Table(title=f"radiologist, {samples:,} samples: {total / 60:.1f} minutes after start-up", title_justify="left")
    for column in ("", "s", "share", "asked"):
        table.add_column(column, justify="right" if column else "left")
    for what in (TRAINING, SCORING):
        table.add_row(what, f"{spent[what]:.1f}", f"{spent[what] / total:.2%}", "")
    table.add_row("all else", f"{rest:.1f}", f"{rest / total:.2%}", f"<= {ASKED:.0%}", style="bold")
    for what in (*(what for what in CALLS if what != SCORING), PAGE):
        table.add_row(f"  {what}", f"{spent[what]:.1f}", f"{spent[what] / total:.2%}", "")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
