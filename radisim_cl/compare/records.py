"""A comparison, written down. Tables, CSV, LaTeX and JSON are made of it and of nothing else."""

from __future__ import annotations

from statistics import fmean
from typing import Literal

from radisim_cl.records.events import Decision
from radisim_cl.records.scorecard import Interval, Record


class Point(Record):
    """Mean skill of a suite at one moment of a run."""

    split: Literal["gate", "report"]
    stage: str | None
    """After which stage; None: before any training."""
    look: int
    """Of the gate, in the stage."""
    samples: int
    """Pairs seen in training before this."""
    suite: str
    skill: Interval


class Decided(Record):
    """What a gate said at one look."""

    stage: str
    attempt: int
    look: int
    mode: Literal["enforce", "observe", "off"]
    passed: bool | None
    """None: undecidable, or not decided (mode off)."""
    decision: Decision
    reasons: list[str]


class RunRecord(Record):
    """One seed of one curriculum."""

    folder: str
    """Name of its directory."""
    seed: int
    plan: str
    """Digest of its plan."""
    samples: int
    """Pairs seen along the path to the end."""
    steps: int
    """Optimizer steps along it."""
    looks: int
    """Times that the gate split was looked at after a stage, by rewound attempts too."""
    rewinds: int
    """How often a user went back."""
    exposures: dict[str, int]
    """Pairs seen by source."""
    hours: float
    """During which a process was at work, by the ledger's clock: training, scoring and saving."""
    decisions: list[Decided]
    """Every one, in order."""
    points: list[Point]
    """The gate split at every look that led to the end, the report split after every accepted stage."""

    def course(self, split: Literal["gate", "report"], suite: str | None = None) -> list[tuple[int, Interval]]:
        """Samples seen and mean skill at every scoring of a split, in order: of a suite, or of all.

        The bounds of all are the means of the suites': right if suites rise and fall together, too wide if they do not.
        """
        moments: dict[tuple[int, str | None, int], list[Interval]] = {}
        for p in self.points:
            if p.split == split and suite in (None, p.suite):
                moments.setdefault((p.samples, p.stage, p.look), []).append(p.skill)
        return [(at[0], Interval(value=fmean(i.value for i in s), low=fmean(i.low for i in s), high=fmean(i.high for i in s)))
                for at, s in moments.items()]


class SeedEffect(Record):
    """What the seeds make of a difference, the patients as they are."""

    differences: list[float]
    """One a seed, in the order of the contrast's seeds."""
    deviation: float | None
    """Their standard deviation; None of one seed."""
    low: float | None
    """95 % t interval of their mean; None of one seed."""
    high: float | None


class Effect(Record):
    """The difference of a curriculum from the reference in one subtask, one suite, or all."""

    level: Literal["subtask", "suite", "overall"]
    id: str
    suite: str
    """Empty of the overall skill."""
    reference: float
    """Skill, mean over seeds."""
    skill: float
    """The same of the curriculum."""
    difference: float
    low: float | None
    """95 % interval over patients, conditional on the trained models; None where there are no more patients than classes."""
    high: float | None
    p: float | None
    """Of no difference, conditional on the trained models; None where no decision may rest on the subtask."""
    p_holm: float | None = None
    """Corrected over the contrast's subtasks; None of suites."""
    seeds: SeedEffect
    undecidable: str = ""
    """Why no decision may rest on it; empty when one may."""


class Contrast(Record):
    """A curriculum against the reference."""

    curriculum: str
    reference: str
    seeds: list[int]
    """Those that both have."""
    effects: list[Effect]


class Group(Record):
    """The runs of one curriculum."""

    curriculum: str
    control: str | None
    """Which control it is; None: it is none."""
    runs: list[RunRecord]
    """By seed."""
    after: dict[str, dict[str, float]]
    """By accepted stage and suite, mean skill on the report split over the seeds; empty where the seeds have different orders."""
    forgotten: dict[str, float]
    """By suite, how much lower the report split's skill is at the end than after the best earlier stage, at least 0, mean over seeds (Chaudhry
    et al. 2018, ECCV, eq. 3)."""


class Comparison(Record):
    """Curricula on the same patients: the first group is the reference."""

    benchmark: str
    version: str
    catalog: str
    items: dict[str, int]
    """Of the report split, by subtask."""
    groups: list[Group]
    contrasts: list[Contrast]
    differences: list[str]
    """In what the runs differ beside their curricula, and by how much."""
    notice: str
    """The catalog's, on every page that shows a score."""

    @property
    def suites(self) -> list[str]:
        """In the benchmark's order."""
        return list(dict.fromkeys(e.suite for k in self.contrasts for e in k.effects if e.suite))
