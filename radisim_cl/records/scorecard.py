"""Scorecards: scores with intervals, by subtask and suite, from one split."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen data that is written down."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(Record):
    """A value with its 95 % interval over patients."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class SubtaskScore(Record):
    """One subtask."""

    id: str
    suite: str
    metric: str
    """Primary metric."""
    scores: dict[str, Interval]
    """By metric; a metric that is undefined on these items is left out."""
    skill: Interval | None
    """(score - chance) / (1 - chance) of the primary metric."""
    chance: float | None
    """Score of the best predictor that does not see the image."""
    items: int
    patients: dict[str, int]
    """By class, or by structure."""
    patients_in_all: int | None = None
    """Distinct patients of the items."""
    undecidable: str = ""
    """Why no decision may rest on it; empty when one may."""
    floors: dict[str, Interval] = {}
    """Primary metric of the no-learning floors on the same items."""
    prompts: str
    """Digest of the prompts."""
    spread: dict[str, float] = {}
    """By template, the primary metric with it alone instead of the mean over all; empty where that was not asked for."""
    detectable: float | None = None
    """The smallest true difference of the primary metric from chance of which the lower end of the interval would have been above chance with
    80 % power, these patients given; None if not even a perfect score would do."""
    trained_on: list[str] = []
    """Sources that training used too: not zero-shot on those."""

    @property
    def above_floor(self) -> bool | None:
        """Whether the score is higher than that of a histogram and of a thumbnail; None where there is nothing to compare."""
        if self.metric not in self.scores or not self.floors:
            return None
        return self.scores[self.metric].value > max(f.value for f in self.floors.values())


class SuiteScore(Record):
    """Mean skill over a suite's decidable subtasks."""

    suite: str
    skill: Interval | None
    detectable: float | None = None
    """The smallest true mean skill that would have been told from 0, as for a subtask."""
    subtasks: list[str]
    left_out: list[str]


class Scorecard(Record):
    """All subtasks on one split."""

    benchmark: str
    version: str
    catalog: str
    split: Literal["tune", "gate", "report"]
    stage: str | None
    look: int
    samples: int
    """Pairs seen in training before this."""
    model: str = ""
    """Which model, where a run does not say."""
    subtasks: list[SubtaskScore]
    suites: list[SuiteScore]
    missing: dict[str, str] = {}
    """Subtasks that could not be scored, and why."""
    notice: str = ""
    """The catalog's, on every page that shows a score."""
