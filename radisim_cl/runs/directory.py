"""A run directory: `plan.yaml`, `ledger.jsonl`, and what they lead to."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from radisim_cl.errors import GateStopped, InputError
from radisim_cl.files import write_atomic
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import Ledger, read
from radisim_cl.records.state import RunState, fold
from radisim_cl.registry import hint
from radisim_cl.runs.lock import HOLDER, LOCK, locked
from radisim_cl.specs.plan import Plan

PLAN = "plan.yaml"
_BEGUN = (LOCK, HOLDER, f".{PLAN}.tmp")
"""What is left of a run whose process was killed before it had a plan."""


def create(plan: Plan, run: Path, nproc: int) -> list[str]:
    """Makes a run directory, or accepts one of the same plan: starting a run again is resuming it.

    Returns:
        What the run that is there goes on with although the plan has it otherwise, since it changes no result: `field: its own, not the plan's`.

    Raises:
        InputError: the directory holds something else, another plan (with every field that differs), or lies in a corpus.
    """
    root, kept = Path(plan.catalog.root), list[str]()
    if run.resolve().is_relative_to(root):
        raise InputError(f"--out {run} lies inside the data folder {root}; choose another place")
    if (run / PLAN).is_file():
        old = load_plan(run)
        if old.digest() != plan.digest():
            changed = "\n  ".join(plan.differences(old)[:40])
            raise InputError(f"{run} was started from another plan; use another --out, take the change back, or go on from here with "
                             f"`radisim-cl resume {run} --fork NEW --curriculum FILE`:\n  {changed}")
        kept = old.asides(plan)
    elif run.is_dir() and any(p.name not in _BEGUN for p in run.iterdir()):
        raise InputError(f"{run} is not empty and not a run; choose another --out")
    run.mkdir(parents=True, exist_ok=True)
    with locked(run):
        ledger = Ledger(run)
        if not (run / PLAN).is_file():
            write_atomic(run / PLAN, yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120))
        if not ledger.events:
            ledger.append(ev.RunStarted(
                name=plan.curriculum.name, plan=plan.digest(), seed=plan.curriculum.seed, reserve=plan.reserve,
                stages=[s.spec.name for s in plan.stages], world_size=nproc, git=_git(), versions=versions(),
                corpora={n: c.digest for n, c in plan.corpora.items()},
            ))
    return kept


def load_plan(run: Path) -> Plan:
    """The plan that a run executes.

    Raises:
        InputError: not a run directory.
    """
    path = run / PLAN
    if not path.is_file():
        raise InputError(f"{run} is not a run: it has no {PLAN}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast, where PyYAML was built with it
    return Plan.model_validate(yaml.load(path.read_text(), loader))


def state(run: Path) -> RunState:
    """Where a run is, read without touching it."""
    return fold(read(run)[0])


def find(name: str | None, unfinished: bool, home: Path = Path("runs")) -> Path:
    """A run by path or by name under `runs/`; without a name the newest, or the newest unfinished one.

    Raises:
        InputError: none there.
    """
    runs = {p.parent.name: p.parent for p in home.glob(f"*/{PLAN}")}
    if name is not None:
        path = Path(name) if (Path(name) / PLAN).is_file() else runs.get(name)
        if path is None:
            raise InputError(f"no run {name!r}. {hint(name, runs)}")
        return path
    candidates = [p for p in runs.values() if not unfinished or state(p).status != "finished"]
    if not candidates:
        raise InputError(f"no {'unfinished ' * unfinished}run under {home}/; name one, or start one with `radisim-cl run`")
    return max(candidates, key=lambda p: (p / "ledger.jsonl").stat().st_mtime)


def ended(run: Path) -> bool:
    """Whether there is nothing left to do.

    Raises:
        GateStopped: a gate ended the run.
    """
    now = state(run)
    if now.status == "stopped":
        raise GateStopped(f"{run} was stopped by the gate of {now.name!r}: {'; '.join(now.decisions[-1].reasons)}\n"
                          + another_try(run, now.name))
    return now.status == "finished"


def another_try(run: Path, stage: str) -> str:
    """What can be done about a gate that said stop."""
    return (f"`radisim-cl resume {run} --stage {stage}` tries the stage again; `radisim-cl resume {run} --fork NEW --set stages.{stage}.gate.then="
            "advance_flagged` goes on under another policy.")


def rewind(run: Path, stage: str) -> str:
    """Goes back to the state in which a stage began; its name.

    Args:
        run: the run.
        stage: a name, or a number from 1.

    Raises:
        InputError: no such stage, or one that has not begun.
    """
    with locked(run):
        ledger = Ledger(run)
        name = stage_named(ledger.events, stage)
        ledger.append(ev.Rewound(stage=name, checkpoint=fold(ledger.events).entries[name].checkpoint.tag))
    return name


def stage_named(events: Sequence[ev.AnyEvent], stage: str) -> str:
    """The name of a stage that has begun.

    Args:
        events: of the run's ledger.
        stage: a name, or a number from 1.

    Raises:
        InputError: no such stage, or one that has not begun.
    """
    now = fold(events)
    if stage.isdigit() and 1 <= int(stage) <= len(now.names):
        stage = now.names[int(stage) - 1]
    if stage not in now.names:
        listed = ", ".join(f"{i} {n}" for i, n in enumerate(now.names, 1))
        raise InputError(f"--stage {stage}: no such stage; there are {listed}")
    if stage not in now.entries:
        raise InputError(f"--stage {stage}: has not begun; {now.names[now.stage]!r} is in progress")
    return stage


def versions() -> dict[str, str]:
    """Of what decides the numbers."""
    packages = ("radisim-cl", "torch", "torchvision", "open-clip-torch", "deepspeed", "numpy")
    return {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages}


def _git() -> str:
    """The commit of the working directory; empty outside a checkout, or without git."""
    try:
        return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
