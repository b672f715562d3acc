"""Finished runs as a comparison reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import pandas as pd

from radisim_cl.bench.items import MODEL
from radisim_cl.bench.measure import Measurement
from radisim_cl.compare.records import Decided, Point, RunRecord
from radisim_cl.errors import InputError
from radisim_cl.records import events as ev
from radisim_cl.records.evidence import Report
from radisim_cl.records.ledger import read
from radisim_cl.records.realised import exposures, path
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import RunState, fold
from radisim_cl.runs.directory import PLAN, find, load_plan
from radisim_cl.runs.scores import measured
from radisim_cl.specs.plan import Plan


@dataclass(frozen=True)
class Finished:
    """A run that has finished: its report split is no longer sealed.

    Attributes:
        folder: its directory.
        plan: what it executed.
        events: of its ledger.
        state: their fold.
    """

    folder: Path
    plan: Plan
    events: Sequence[ev.AnyEvent]
    state: RunState

    @property
    def name(self) -> str:
        """Of its curriculum: what runs are grouped by."""
        return self.plan.curriculum.name

    @property
    def seed(self) -> int:
        """What tells it from the others of its group."""
        return self.plan.curriculum.seed

    @cached_property
    def scored(self) -> ev.Scored:
        """The report split's last scoring."""
        return [s for s in self.state.scores if s.split == "report"][-1]

    @cached_property
    def measurement(self) -> Measurement[Report]:
        """Of the report split after the last stage."""
        return measured(self.folder, self.plan, self.scored, "report")

    @cached_property
    def asked(self) -> pd.DataFrame:
        """Which items the model was asked about, of which patients, and what is true of them."""
        frame = pd.read_parquet(self.folder / self.scored.file, columns=["by", "subtask", "item", "patient", "truth"])
        return frame[frame["by"] == MODEL].drop(columns="by").reset_index(drop=True)

    def record(self) -> RunRecord:
        """What is written down of it."""
        batch = self.plan.curriculum.scale.global_batch
        points = [Point(split="gate", stage=s.stage, look=s.look, samples=s.total * batch, suite=suite, skill=skill)
                  for s in path(self.events) if isinstance(s, ev.Scored) and s.split == "gate" for suite, skill in (s.suites or {}).items()]
        for stage in self.state.accepted:
            card = Scorecard.model_validate_json((self.folder / "scores" / f"report-{stage}.json").read_text())
            points += [Point(split="report", stage=stage, look=card.look, samples=card.samples, suite=s.suite, skill=s.skill)
                       for s in card.suites if s.skill]
        decisions = [Decided.model_validate(d.model_dump(include=set(Decided.model_fields))) for d in self.state.decisions]
        return RunRecord(folder=self.folder.name, seed=self.seed, plan=self.plan.digest(), samples=self.state.total * batch, steps=self.state.total,
                         looks=len(self.state.decisions), rewinds=self.state.rewinds, exposures=exposures(self.events), hours=hours(self.events),
                         decisions=decisions, points=points)


def hours(events: Sequence[ev.AnyEvent]) -> float:
    """During which a process was at work: what lies between two events, but for the time before one took the run up again."""
    return sum((datetime.fromisoformat(after.time) - datetime.fromisoformat(before.time)).total_seconds() for before, after in pairwise(events)
               if not isinstance(after, ev.RunResumed)) / 3600


def finished(names: Sequence[str]) -> list[Finished]:
    """The runs that names stand for: run directories, runs under `runs/`, or folders of runs, such as an ablation's.

    Those of a folder come in the order in which they began, what is no control before controls.

    Raises:
        InputError: no such run, or some that have not finished.
    """
    out, sealed = list[Finished](), list[str]()
    for name in names:
        inside = [p.parent for p in Path(name).glob(f"*/{PLAN}")] if not (Path(name) / PLAN).is_file() else []
        found = [_read(folder) for folder in inside or [find(name, unfinished=False)]]
        sealed += [f"{r.folder} ({r.state.status}, at {r.state.name!r})" for r in found if r.state.status != "finished"]
        out += sorted(found, key=lambda r: (r.plan.curriculum.control is not None, r.events[0].time if r.events else "", str(r.folder)))
    if sealed:
        raise InputError(f"the report split stays sealed until a run has finished; not finished: {', '.join(sealed)}; finish them, or leave them out")
    return out


def _read(folder: Path) -> Finished:
    events = read(folder)[0]
    return Finished(folder, load_plan(folder), events, fold(events))
