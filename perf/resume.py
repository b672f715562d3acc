"""Time from `resume` to the first step, beside importing the same libraries and reading the same bytes; medians of interleaved processes.

    make perf
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPEATS, ARCH, SAMPLES = 3, "radisim-tiny-resnet", 7680
"""Processes of each kind; the model; the run's budget, of which the first stage has not seen its share when it is stopped."""
FIRST_STEP = """
import os, sys
from radisim_cl.runs import runner

steps = runner.train_stage
def first(*args):
    next(steps(*args))
    os._exit(0)
runner.train_stage = first
runner.resume(runner.Path(sys.argv[1]))
"""
READING = """
import pathlib, sys
import deepspeed, open_clip, pandas, sklearn.metrics, torch, torchvision
from torch.utils.tensorboard import SummaryWriter

for file in sys.argv[1:]:
    pathlib.Path(file).read_bytes()
"""


def interrupted(home: Path) -> Path:
    """A run of the phantom that was stopped in its first stage."""
    run = home / "run"
    sets = [f"profiles.smoke.model.arch={ARCH}", f"profiles.smoke.budget.samples={SAMPLES}"]
    process = subprocess.Popen([sys.executable, "-m", "radisim_cl", "run", "radiologist", "--profile", "smoke", "--catalog", "phantom_small", "--out",
                                str(run), *(word for s in sets for word in ("--set", s))], stdout=subprocess.DEVNULL)
    while not any((run / "checkpoints").glob("modality-*")):
        if process.poll() is not None:
            raise SystemExit("the run ended before it could be stopped")
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.wait()
    return run


def seconds(code: str, *args: str) -> float:
    """Of a new process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Prints a table."""
    from radisim_cl.records.ledger import read
    from radisim_cl.records.state import fold
    from radisim_cl.runs.directory import load_plan

    with tempfile.TemporaryDirectory() as home:
        run = interrupted(Path(home))
        checkpoint = fold(read(run)[0]).checkpoint
        assert checkpoint is not None
        plan = load_plan(run)
        manifests = [Path(plan.catalog.root) / c.manifest for name, c in plan.catalog.corpora.items() if name in plan.corpora]
        files = [str(p) for p in [*(run / "checkpoints" / checkpoint.tag).rglob("*"), *manifests] if p.is_file()]
        ours, theirs = [], []
        for _ in range(REPEATS):
            theirs.append(seconds(READING, *files))
            ours.append(seconds(FIRST_STEP, str(run)))
    table = Table(title=f"From resume to the first step, {ARCH}, medians of {REPEATS}", title_justify="left")
    for column in ("", "s", "ratio", "asked"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("importing, and reading the checkpoint and the manifests", f"{statistics.median(theirs):.1f}", "1", "")
    ratio = statistics.median(ours) / statistics.median(theirs)
    table.add_row("resume to the first step", f"{statistics.median(ours):.1f}", f"{ratio:.2f}x", "<= 1.3x")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
