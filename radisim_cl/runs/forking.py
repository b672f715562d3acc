"""Another plan from the middle of a run: a new run that begins as a copy of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from radisim_cl.errors import InputError
from radisim_cl.files import fsync, write_atomic
from radisim_cl.records import events as ev
from radisim_cl.records.ledger import FILE, Ledger
from radisim_cl.records.state import RunState, fold
from radisim_cl.runs.directory import PLAN, load_plan, stage_named
from radisim_cl.runs.lock import locked
from radisim_cl.runs.planning import plan as make
from radisim_cl.specs.curriculum import CurriculumSpec, load, stored
from radisim_cl.specs.plan import Plan

_MAY = re.compile(r"stages\[\d+\]|reserve:|scale\.(budget|gates|health|lr_scale)|curriculum\.(name|description|seed|profile):")
"""What may differ: stages to come, what they may spend, how their losses are watched, and the seed of their samples."""


def fork(run: Path, new: Path, stage: str | None, overrides: Sequence[str] = (), file: str | None = None) -> Path:
    """Makes a new run of what a run has done so far and a changed plan for the rest; neither forgets the other.

    Args:
        run: the parent; it stays as it is.
        new: the new run's directory.
        stage: name or number of the stage at whose beginning the new run begins; where the parent is, if None.
        overrides: `a.b=c` changes of the parent's curriculum, or of `file`.
        file: an edited curriculum.

    Raises:
        InputError: the new directory is taken, or the change concerns what has been trained already.
    """
    if new.exists():
        raise InputError(f"--fork {new} is there already; choose another name")
    old = load_plan(run)
    spec, near = (load(file, overrides, old.curriculum.profile, old.catalog.name), Path(file).resolve().parent) if file else \
        (stored(run / PLAN, overrides), None)
    with locked(run):
        events = list(Ledger(run).events)
        name = stage_named(events, stage) if stage else None
        past = [*events, ev.Rewound(stage=name, checkpoint=fold(events).entries[name].checkpoint.tag)] if name else events
        state = fold(past)
        plan = _changed(old, spec, near, state)
        reserve = plan.reserve - (old.reserve - state.reserve)
        if reserve < 0:
            raise InputError(f"{run} has used {old.reserve - state.reserve:,} steps of its reserve, and the new plan has {plan.reserve:,}; raise it")
        temporary = new.with_name(f".{new.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        for tag in {e.checkpoint.tag for e in state.entries.values()} | ({state.checkpoint.tag} if state.checkpoint else set()):
            shutil.copytree(run / "checkpoints" / tag, temporary / "checkpoints" / tag)
        for folder in ("scores", *(e.export for e in state.accepted.values())):
            if (run / folder).is_dir():
                shutil.copytree(run / folder, temporary / folder)
        write_atomic(temporary / PLAN, yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120))
        (temporary / FILE).write_bytes((run / FILE).read_bytes())
    ledger = Ledger(temporary)
    for event in (*past[len(events) :], ev.Forked(parent=run.name, plan=plan.digest(), stages=[s.spec.name for s in plan.stages], reserve=reserve,
                                                  changed=plan.differences(old))):
        ledger.append(event)
    temporary.replace(new)
    fsync(new.parent)
    return new


def _changed(old: Plan, spec: CurriculumSpec, near: Path | None, state: RunState) -> Plan:
    """The new plan; of stages that are over, and of the one in progress, as many samples as they had."""
    new = make(spec, near, None if near else old)
    begun = state.stage + state.started
    if [s.spec.name for s in new.stages[:begun]] != state.names[:begun]:
        raise InputError(f"a fork keeps the stages that have begun: {', '.join(state.names[:begun])}; go back with --stage to change them")
    edited = [i for i in range(state.stage) if new.stages[i].spec.model_dump() != old.stages[i].spec.model_dump()]
    kept = [n.model_copy(update={"batches": o.batches, "samples": o.samples, "entries": o.entries})
            for n, o in zip(new.stages[:begun], old.stages[:begun], strict=True)]
    new = new.model_copy(update={"stages": [*kept, *new.stages[begun:]]})
    wrong = [d for d in new.differences(old) if not _MAY.match(d)]
    if edited or wrong:
        told = [*(f"stages[{i}] ({state.names[i]}) is over" for i in edited), *wrong[:20]]
        raise InputError("a fork changes what is to come, and not what the model has been through; take these back, or start another run:\n  "
                         + "\n  ".join(told))
    return new
