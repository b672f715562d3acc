"""The events of a run. The state of a run is a fold over them and nothing else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from radisim_cl.records.scorecard import Interval

Decision = Literal["advance", "extend", "replay_up", "rollback", "advance_flagged", "stop"]


class Event(BaseModel):
    """One line of the ledger."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int = 0
    """Position in the ledger, from 0."""
    time: str = ""
    """UTC, for readers; order comes from `number`."""


class RunStarted(Event):
    """The run exists."""

    event: Literal["RunStarted"] = "RunStarted"
    name: str
    plan: str
    """Digest of the plan."""
    seed: int
    reserve: int
    """Optimizer steps that extensions may use."""
    stages: list[str]
    world_size: int
    git: str
    versions: dict[str, str]
    corpora: dict[str, str]
    """Manifest digests."""


class RunResumed(Event):
    """A process took up a run that another had left."""

    event: Literal["RunResumed"] = "RunResumed"
    world_size: int
    versions: dict[str, str]
    note: str = ""


class Forked(Event):
    """From here on this run follows another plan than the one that it was forked from, of which all before is a copy."""

    event: Literal["Forked"] = "Forked"
    parent: str
    """Name of the run's directory."""
    plan: str
    """Digest of the new plan."""
    stages: list[str]
    reserve: int
    """Optimizer steps that extensions may still use."""
    changed: list[str]
    """Fields of the plan that differ, with old and new value."""


class StageStarted(Event):
    """A stage begins from the newest checkpoint."""

    event: Literal["StageStarted"] = "StageStarted"
    stage: str
    attempt: int
    planned: int
    """Optimizer steps up to the first look."""
    from_reserve: int = 0
    """Of these, steps that were left of the reserve."""


class CheckpointCommitted(Event):
    """A checkpoint that is whole on disk. Only ledgered checkpoints exist."""

    event: Literal["CheckpointCommitted"] = "CheckpointCommitted"
    tag: str
    manifest: str
    """SHA-256 of the checkpoint's manifest."""
    stage: str | None
    attempt: int
    batch: int
    """Optimizer steps done in this stage along the path that led here: the mixture's position."""
    total: int
    """Optimizer steps done along the path that led here."""
    why: Literal["initial", "periodic", "look", "signal"]
    drawn: dict[str, int]
    """Pairs seen in this stage along the path that led here, by `source/modality`."""
    asked: dict[str, float]
    """What the mixture's shares ask for, the same way."""
    world: int = 0
    """Ranks that wrote it; 0: as many as read it."""
    losses: list[float] = []
    """Of the last steps, total and in order: what a spike is told by."""
    substituted: dict[str, int] = {}
    """By source, pairs of this stage whose image or mask is none, and that another pair stood in for."""
    unreadable: list[str] = []
    """Those since the checkpoint before, as `source:row` of its manifest."""


class FellBack(Event):
    """The newest checkpoints could not be used; the run goes on from an older one, and does again what came after it."""

    event: Literal["FellBack"] = "FellBack"
    to: int
    """Number of the event of the checkpoint that can be used."""
    reasons: list[str]
    """What is wrong with each newer one."""


class StepsSkipped(Event):
    """Steps without an update: their losses or gradients were not finite, or led to a spike of the loss."""

    event: Literal["StepsSkipped"] = "StepsSkipped"
    stage: str
    attempt: int
    first: int
    """Steps of the stage, from 1, first and last skipped."""
    last: int
    why: Literal["loss not finite", "gradient not finite", "loss spike"]
    pairs: list[str]
    """Those of the last skipped step: source and row of its manifest."""


class Scored(Event):
    """A split was scored. The report split's numbers stay in the file, sealed until the run has finished."""

    event: Literal["Scored"] = "Scored"
    split: Literal["gate", "report"]
    stage: str | None
    """None: look 0, before any training."""
    attempt: int
    look: int
    total: int
    file: str
    """Per-item answers, relative to the run."""
    digest: str
    suites: dict[str, Interval] | None
    """Mean skill by suite; None while sealed."""


class GateDecided(Event):
    """What a gate said, why, and what follows."""

    event: Literal["GateDecided"] = "GateDecided"
    stage: str
    attempt: int
    look: int
    mode: Literal["enforce", "observe", "off"]
    passed: bool | None
    """None: undecidable, or not decided (mode off)."""
    reasons: list[str]
    """One sentence a requirement, with the score, its bound and the threshold."""
    alpha: float
    """One-sided error rate spent by this look."""
    evidence: str
    """The file of answers that it was decided on."""
    decision: Decision
    batches: int = 0
    """Optimizer steps that the decision takes from the reserve."""
    forgotten: list[str] = []
    """Earlier stages of which `replay_up` shows more."""


class StageFinished(Event):
    """A stage is accepted."""

    event: Literal["StageFinished"] = "StageFinished"
    stage: str
    attempt: int
    passed: bool
    """False: its gate did not pass and was only observed, or was off."""
    export: str
    """Folder of the exported model, relative to the run."""


class Rewound(Event):
    """The run goes back to the state in which a stage began; what came after stays on record."""

    event: Literal["Rewound"] = "Rewound"
    stage: str
    checkpoint: str


class RunFinished(Event):
    """All stages are accepted."""

    event: Literal["RunFinished"] = "RunFinished"


class RunStopped(Event):
    """A gate ended the run (exit code 3)."""

    event: Literal["RunStopped"] = "RunStopped"
    stage: str


class RunFailed(Event):
    """A fault or a signal ended the process; the run can be resumed."""

    event: Literal["RunFailed"] = "RunFailed"
    exit_code: int
    error: str


AnyEvent = Annotated[
    RunStarted | RunResumed | Forked | StageStarted | CheckpointCommitted | FellBack | StepsSkipped | Scored | GateDecided | StageFinished
    | Rewound | RunFinished | RunStopped | RunFailed,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
