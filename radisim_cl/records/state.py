"""The state of a run: a fold over its ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from radisim_cl.records import events as ev

Status = Literal["new", "running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Entry:
    """The state in which a stage began."""

    checkpoint: ev.CheckpointCommitted
    reserve: int


@dataclass
class RunState:
    """Where a run is. Nothing here is stored; `fold` makes it from the ledger.

    Attributes:
        status: what the last word was.
        names: the stages, in order.
        stage: index of the stage in progress; the number of stages when all are accepted.
        started: whether that stage has begun.
        attempt: of that stage, from 0; a rewind makes a new one, with a new key of the sample stream.
        batch: optimizer steps of the attempt that `checkpoint` holds.
        planned: steps of the attempt without extensions; the schedule's length.
        target: steps of the attempt at which the next look is due.
        look: looks decided in this attempt.
        scored: a look that was scored and not yet decided.
        decided: the decision that ends the stage, once made.
        reported: whether the report split of the stage in progress has been scored.
        reserve: steps left for extensions.
        checkpoint: the newest one along the path to here.
        entries: by stage name, the state in which it began.
        accepted: by stage name, how it ended.
        scores: every scoring, in order.
        decisions: every decision, in order.
        rewinds: how often a user went back.
        exit_code, error: of the process that ended last, if it failed.
        world_size: ranks of the process that ran last.
    """

    status: Status = "new"
    names: list[str] = field(default_factory=list)
    plan: str = ""
    stage: int = 0
    started: bool = False
    attempt: int = 0
    batch: int = 0
    planned: int = 0
    target: int = 0
    look: int = 0
    scored: ev.Scored | None = None
    decided: ev.GateDecided | None = None
    reported: bool = False
    reserve: int = 0
    checkpoint: ev.CheckpointCommitted | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    accepted: dict[str, ev.StageFinished] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    scores: list[ev.Scored] = field(default_factory=list)
    decisions: list[ev.GateDecided] = field(default_factory=list)
    rewinds: int = 0
    exit_code: int = 0
    error: str = ""
    world_size: int = 1

    @property
    def total(self) -> int:
        """Optimizer steps along the path to here."""
        return self.checkpoint.total if self.checkpoint else 0

    @property
    def name(self) -> str:
        """Name of the stage in progress; of the last one when all are accepted."""
        return self.names[min(self.stage, len(self.names) - 1)]

    def apply(self, e: ev.AnyEvent) -> None:
        """Takes one event into account."""
        match e:
            case ev.RunStarted():
                self.status, self.plan, self.names, self.reserve = "running", e.plan, e.stages, e.reserve
                self.world_size = e.world_size
            case ev.RunResumed():
                self.status, self.exit_code, self.error, self.world_size = "running", 0, "", e.world_size
            case ev.StageStarted():
                assert self.checkpoint is not None
                self.entries[e.stage] = Entry(self.checkpoint, self.reserve)
                self.attempts[e.stage] = self.attempt = e.attempt
                self.started, self.batch, self.target, self.look = True, 0, e.planned, 0
                self.planned = e.planned
                self.scored, self.decided, self.reported = None, None, False
                self.reserve -= e.from_reserve
            case ev.CheckpointCommitted():
                self.checkpoint, self.batch = e, e.batch
            case ev.Scored():
                self.scores.append(e)
                self.scored = e if e.split == "gate" and e.stage is not None else self.scored
                self.reported = self.reported or e.split == "report"
            case ev.GateDecided():
                self.decisions.append(e)
                self.look, self.scored = e.look, None
                self.target += e.batches
                self.reserve -= e.batches
                self.decided = e if e.decision != "extend" else None
            case ev.StageFinished():
                self.accepted[e.stage] = e
                self.stage, self.started, self.decided = self.stage + 1, False, None
            case ev.Rewound():
                self._rewind(e)
            case ev.RunFinished():
                self.status = "finished"
            case ev.RunStopped():
                self.status = "stopped"
            case ev.RunFailed():
                self.status, self.exit_code, self.error = "failed", e.exit_code, e.error

    def _rewind(self, e: ev.Rewound) -> None:
        self.stage = self.names.index(e.stage)
        entry = self.entries[e.stage]
        self.checkpoint, self.reserve = entry.checkpoint, entry.reserve
        for later in self.names[self.stage :]:
            self.accepted.pop(later, None)
            self.entries.pop(later, None)
        self.status, self.started, self.scored, self.decided = "running", False, None, None
        self.rewinds += 1


def fold(events: Iterable[ev.AnyEvent]) -> RunState:
    """The state after a sequence of events."""
    state = RunState()
    for e in events:
        state.apply(e)
    return state
