"""What a gate may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from radisim_cl.stats import Estimate

Tune = Literal["tune"]
Gate = Literal["gate"]
Report = Literal["report"]
Split = Literal["tune", "gate", "report"]
"""The splits, and each as a type: what is marked with one was made from it, so that mypy keeps the report split from gates."""
Estimates = Mapping[tuple[str, str], Estimate]
"""By suite or subtask, and metric."""


@dataclass(frozen=True)
class GateEvidence:
    """Measurements on the gate split at one look. There is no way to make one from the report split.

    Attributes:
        split: the split that was scored.
        catalog: name of the catalog, for thresholds that differ by catalog.
        estimates: of this look.
        undecidable: by suite or subtask name, why no decision may rest on it.
        share: of a requirement's error rate, 0 to 1, that this look may spend.
        changes: paired changes on the same patients, in order: since the state that entered the stage, and since each earlier look of the stage.
        learned: suites and subtasks that the gates of earlier stages asked about.
    """

    split: Gate
    catalog: str
    estimates: Estimates
    undecidable: Mapping[str, str]
    share: float = 1.0
    changes: Sequence[Estimates] = ()
    learned: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.split != "gate":
            raise ValueError(f"a gate is decided on the gate split, never on {self.split!r}")


def spent(looks: int, attempt: int) -> float:
    """The share of a requirement's error rate that one look of an attempt may spend.

    Looks at the same patients are no independent increments, so their error rates add up at worst (Bonferroni): equal parts to the looks of an
    attempt, and to each attempt half of what is left, so that however often a stage is tried again, by policy or by hand, all together spend at
    most 1.

    Args:
        looks: that an attempt allows.
        attempt: from 0.
    """
    return 0.5 ** (attempt + 1) / looks


@dataclass(frozen=True)
class Verdict:
    """What one requirement says.

    Attributes:
        passed: None when the data cannot decide.
        reason: a sentence with the score, its bound and the threshold.
        alpha: one-sided error rate that this look spent.
        forgotten: suites and subtasks of earlier stages of which a loss was shown.
    """

    passed: bool | None
    reason: str
    alpha: float
    forgotten: tuple[str, ...] = ()


def all_passed(verdicts: Sequence[Verdict]) -> bool | None:
    """Whether all do: one that did not decides, then one that cannot be decided."""
    return False if any(v.passed is False for v in verdicts) else None if any(v.passed is None for v in verdicts) else True
