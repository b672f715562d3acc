"""The state of a run: a fold over its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from radisim_cl.records import events as ev

Status = Literal["new", "running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Entry:
    """The state in which a stage began."""

    checkpoint: ev.CheckpointCommitted
    reserve: int
    scored: ev.Scored | None
    """The gate split, as that state answered it."""


@dataclass
class RunState:
    """Where a run is. Nothing here is stored; `fold` makes it from the ledger.

    Attributes:
        status: what the last word was.
        names: the stages, in order.
        stage: index of the stage in progress; the number of stages when all are accepted.
        started: whether that stage has begun.
        attempt: of that stage, from 0, by policy or by hand: a key of the sample stream.
        tries: attempts since the stage was last begun, by policy, this one included.
        rollbacks: of these, how many began where the stage began.
        batch: optimizer steps of the stage that `checkpoint` holds.
        planned: steps of the stage without extensions; the schedule's length.
        target: steps of the stage at which the next look is due.
        since: steps of the stage at which the attempt's mixture began; later than 0 in a repair.
        asked: what the mixtures before it asked for, as in `CheckpointCommitted`.
        forgotten: earlier stages of which a repair shows more.
        skipped: steps of the attempt, from 0, that are passed over, because they led to a spike.
        noted: steps of the attempt, from 0, of which the ledger says that they changed nothing.
        setbacks: how often the loss has spiked in the attempt.
        look: looks decided since the stage was last begun.
        scored: a look that was scored and not yet decided.
        looks: the gate split as the state that entered the stage answered it, then each look of the stage.
        decided: the decision that ends the stage, once made.
        reported: whether the report split of the stage in progress has been scored.
        reserve: steps left for extensions.
        checkpoint: the newest one along the path to here.
        abandoned: optimizer steps on paths that were left.
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
    tries: int = 1
    rollbacks: int = 0
    batch: int = 0
    planned: int = 0
    target: int = 0
    since: int = 0
    asked: dict[str, float] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    noted: set[int] = field(default_factory=set)
    setbacks: int = 0
    look: int = 0
    scored: ev.Scored | None = None
    looks: list[ev.Scored] = field(default_factory=list)
    decided: ev.GateDecided | None = None
    reported: bool = False
    reserve: int = 0
    checkpoint: ev.CheckpointCommitted | None = None
    abandoned: int = 0
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

    def trained(self, stage: str) -> int:
        """Optimizer steps in a stage, extensions included, along the path to here."""
        if stage not in self.entries:
            return 0
        later = next((n for n in self.names[self.names.index(stage) + 1 :] if n in self.entries), None)
        return (self.entries[later].checkpoint.total if later else self.total) - self.entries[stage].checkpoint.total

    @property
    def flagged(self) -> list[str]:
        """Stages that are over although their gates said no, because their policies went on all the same."""
        last = {d.stage: d.decision for d in self.decisions}
        over = {*self.accepted, *([self.decided.stage] if self.decided else [])}
        return [name for name in self.names if name in over and last.get(name) == "advance_flagged"]

    @property
    def notice(self) -> str:
        """What every page with a score of this run says beside the plan's notice; empty where there is nothing to say."""
        return f"Not shown by their gates, and advanced all the same: {', '.join(self.flagged)}." if self.flagged else ""

    def apply(self, e: ev.AnyEvent) -> None:
        """Takes one event into account."""
        match e:
            case ev.RunStarted():
                self.status, self.plan, self.names, self.reserve = "running", e.plan, e.stages, e.reserve
                self.world_size = e.world_size
            case ev.RunResumed():
                self.status, self.exit_code, self.error, self.world_size = "running", 0, "", e.world_size
            case ev.Forked():
                self.plan, self.names, self.reserve, self.status = e.plan, e.stages, e.reserve, "running"
                self.exit_code, self.error = 0, ""
                if self.decided and self.decided.decision == "stop":  # its policy may be another now; the look is the same
                    self.decided, self.scored, self.look = None, self.looks[-1], self.look - 1
            case ev.StageStarted():
                assert self.checkpoint is not None
                self.entries[e.stage] = Entry(self.checkpoint, self.reserve, self.looks[-1] if self.looks else None)
                self.tries, self.rollbacks, self.started, self.planned = 1, 0, True, e.planned
                self._begin(e.stage, e.attempt)
                self.reserve -= e.from_reserve
            case ev.CheckpointCommitted():
                self.checkpoint, self.batch = e, e.batch
            case ev.FellBack():
                pass  # `fold` has gone back already
            case ev.StepsSkipped():
                steps = set(range(e.first - 1, e.last))
                if e.why != "loss spike":
                    self.noted |= steps
                else:
                    self.skipped |= steps
                    self.setbacks += 1
            case ev.Scored():
                self.scores.append(e)
                if e.split == "gate":
                    self.scored = e if e.stage is not None else None
                    self.looks.append(e)
                else:
                    self.reported = True
            case ev.GateDecided():
                self.decisions.append(e)
                self.look, self.scored = e.look, None
                self.reserve -= e.batches
                match e.decision:
                    case "extend":
                        self.target += e.batches
                    case "replay_up":
                        self._repair(e)
                    case "rollback":
                        self._roll_back(e.stage)
                    case _:
                        self.decided = e
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

    def _begin(self, stage: str, attempt: int) -> None:
        """An attempt at a stage, from where it began."""
        entry = self.entries[stage].scored
        self.attempts[stage] = self.attempt = attempt
        self.batch, self.target, self.since, self.look = 0, self.planned, 0, 0
        self.asked, self.forgotten, self.looks = {}, [], [entry] if entry else []
        self.skipped, self.noted, self.setbacks = set(), set(), 0
        self.scored, self.decided, self.reported = None, None, False

    def _repair(self, e: ev.GateDecided) -> None:
        """Another mixture from here on: an attempt that goes on with the weights and the schedule as they are."""
        assert self.checkpoint is not None
        self.attempts[e.stage] = self.attempt = self.attempt + 1
        self.tries, self.target, self.since = self.tries + 1, self.target + e.batches, self.batch
        self.asked, self.forgotten = dict(self.checkpoint.asked), e.forgotten
        self.skipped, self.noted, self.setbacks = set(), set(), 0

    def _roll_back(self, stage: str) -> None:
        entry = self.entries[stage]
        self.abandoned += self.total - entry.checkpoint.total
        self.checkpoint = entry.checkpoint
        self.tries, self.rollbacks = self.tries + 1, self.rollbacks + 1
        self._begin(stage, self.attempt + 1)

    def _rewind(self, e: ev.Rewound) -> None:
        self.stage = self.names.index(e.stage)
        entry = self.entries[e.stage]
        self.abandoned += self.total - entry.checkpoint.total
        self.checkpoint, self.reserve, self.looks = entry.checkpoint, entry.reserve, [entry.scored] if entry.scored else []
        for later in self.names[self.stage :]:
            self.accepted.pop(later, None)
            self.entries.pop(later, None)
        self.status, self.started, self.scored, self.decided = "running", False, None, None
        self.rewinds += 1


def fold(events: Sequence[ev.AnyEvent]) -> RunState:
    """The state after a sequence of events."""
    state = RunState()
    for e in events:
        if isinstance(e, ev.FellBack):
            state = fold(events[: e.to + 1])
        state.apply(e)
    return state
