"""What a run's ledger, plan and scorecards say, in the terms of the page. Torch-free; draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Self

from radisim_cl.records import events as ev
from radisim_cl.records.ledger import read
from radisim_cl.records.realised import path
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import RunState, fold
from radisim_cl.runs.directory import load_plan
from radisim_cl.specs.gates import ThresholdSpec, leaves
from radisim_cl.specs.plan import Plan


@dataclass(frozen=True)
class Attempt:
    """One training of a stage, from its start to where it ended or the ledger does.

    Attributes:
        stage, attempt: which; attempts count from 0.
        start, end: samples seen along the path that led there.
        began, left: seconds of `Story.worked`.
        kept: whether the run's path still goes through it; a rewind leaves attempts aside.
        looks: decisions of its gate, each with samples and seconds.
        reported: samples and seconds at which its report split was scored.
    """

    stage: str
    attempt: int
    start: int
    end: int
    began: float
    left: float
    kept: bool
    looks: list[tuple[ev.GateDecided, int, float]]
    reported: list[tuple[int, float]]


@dataclass(frozen=True)
class Pause:
    """Time between two processes of a run.

    Attributes:
        at: seconds of `Story.worked` at which it was.
        seconds: how long nobody worked.
        failure: what the process before it said at its end; None where it had no time to.
        rewound: whether somebody went back in it.
    """

    at: float
    seconds: float
    failure: ev.RunFailed | None
    rewound: bool


@dataclass(frozen=True)
class Story:
    """A run as it is on disk.

    Attributes:
        run: its directory.
        plan: what it executes.
        events: its ledger.
        note: what is odd about the ledger's end, if anything is.
        gates: scorings of the gate split with their scorecards, in order.
        reports: by accepted stage, the scorecard of the report split; empty until the run has finished.
    """

    run: Path
    plan: Plan
    events: list[ev.AnyEvent]
    note: str
    gates: list[tuple[ev.Scored, Scorecard]]
    reports: dict[str, Scorecard]

    @classmethod
    def of(cls, run: Path) -> Self:
        """Reads a run; of one that has not finished, nothing of the report split.

        Raises:
            InputError: not a run; RadisimError: its ledger is broken.
        """
        plan, (events, note) = load_plan(run), read(run)
        state = fold(events)
        gates = [(e, _card((run / e.file).with_suffix(".json"))) for e in state.scores if e.split == "gate"]
        reports = {s: _card(run / "scores" / f"report-{s}.json") for s in state.accepted} if state.status == "finished" else {}
        return cls(run, plan, events, note, gates, reports)

    @cached_property
    def state(self) -> RunState:
        """Where the run is."""
        return fold(self.events)

    @cached_property
    def path(self) -> list[ev.AnyEvent]:
        """The events that led to where the run is."""
        return path(self.events)

    @property
    def batch(self) -> int:
        """Samples a step."""
        return self.plan.curriculum.scale.global_batch

    @property
    def final(self) -> Scorecard | None:
        """The report split's scorecard of the last stage, of a run that has finished."""
        return self.reports.get(self.state.names[-1])

    @property
    def shown(self) -> Scorecard | None:
        """The newest scorecard that may be looked at: the final one, or the last look at the gate split."""
        return self.final or (self.gates[-1][1] if self.gates else None)

    @cached_property
    def resumes(self) -> int:
        """How often a process took the run up again."""
        return sum(isinstance(e, ev.RunResumed) for e in self.events)

    @property
    def flagged(self) -> list[str]:
        """Stages that were accepted without having passed their gates."""
        return [name for name, e in self.state.accepted.items() if not e.passed]

    @cached_property
    def worked(self) -> list[float]:
        """By event, seconds of work until then: time in which no process had the run does not count."""
        out, total = [], 0.0
        for before, e in zip([None, *self.events], self.events, strict=False):
            if before is not None and not isinstance(e, ev.RunResumed | ev.Rewound):
                total += (_time(e) - _time(before)).total_seconds()
            out.append(total)
        return out

    @cached_property
    def pauses(self) -> list[Pause]:
        """Where the run was interrupted, or somebody went back."""
        out = []
        for i, e in enumerate(self.events):
            if isinstance(e, ev.RunResumed):
                last = next((x for x in reversed(self.events[:i]) if not isinstance(x, ev.Rewound)), e)
                out.append(Pause(self.worked[i], (_time(e) - _time(last)).total_seconds(), last if isinstance(last, ev.RunFailed) else None,
                                 isinstance(self.events[i - 1], ev.Rewound)))
        return out

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Every training of a stage, in order."""
        kept = {e.number for e in self.path}
        out: list[Attempt] = []
        total, scored = 0, 0
        for e, at in zip(self.events, self.worked, strict=True):
            match e:
                case ev.StageStarted():
                    out.append(Attempt(e.stage, e.attempt, total * self.batch, total * self.batch, at, at, e.number in kept, [], []))
                case ev.Rewound():
                    total = next(c.total for c in reversed(self.events[: e.number]) if isinstance(c, ev.CheckpointCommitted)
                                 and c.tag == e.checkpoint)
                    continue
                case ev.CheckpointCommitted():
                    total = e.total
                case ev.Scored():
                    scored = e.total * self.batch
                    if e.split == "report" and out:
                        out[-1].reported.append((scored, at))
                case ev.GateDecided():
                    out[-1].looks.append((e, scored, at))
                    if e.decision in ("rollback", "replay_up"):
                        last = out[-1] = _until(out[-1], total * self.batch, at)
                        if e.decision == "rollback":
                            out[-1], total = replace(last, kept=False), last.start // self.batch
                        out.append(Attempt(e.stage, e.attempt + 1, total * self.batch, total * self.batch, at, at, last.kept, [], []))
                        continue
            if out and out[-1].stage == getattr(e, "stage", None):
                out[-1] = _until(out[-1], total * self.batch, at)
        return out

    def mixed(self) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
        """By stage, pairs that the mixture's shares asked for and pairs that were drawn, by source, up to the newest checkpoint."""
        last = {e.stage: e for e in self.path if isinstance(e, ev.CheckpointCommitted) and e.stage}
        return {stage: (_by_source(e.asked), _by_source(e.drawn)) for stage, e in last.items()}


def _card(path: Path) -> Scorecard:
    return Scorecard.model_validate_json(path.read_text())


def _time(e: ev.AnyEvent) -> datetime:
    return datetime.fromisoformat(e.time)


def _until(a: Attempt, end: int, left: float) -> Attempt:
    return Attempt(a.stage, a.attempt, a.start, end, a.began, left, a.kept, a.looks, a.reported)


def _by_source(pairs: dict[str, int] | dict[str, float]) -> dict[str, float]:
    """From `source/modality` to source."""
    out: dict[str, float] = {}
    for name, n in pairs.items():
        source = name.rsplit("/", 1)[0]
        out[source] = out.get(source, 0.0) + n
    return out


def threshold(plan: Plan, suite: str) -> float | None:
    """The skill that a gate asks of a suite, if one does."""
    found = [r.value_for(plan.catalog.name) for s in plan.stages for _, r in leaves(s.spec.gate.requires)
             if isinstance(r, ThresholdSpec) and r.suite == suite and r.metric == "skill"]
    return max(found, default=None)
