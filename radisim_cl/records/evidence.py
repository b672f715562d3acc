"""What a gate may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from radisim_cl.stats import Estimate

Tune = Literal["tune"]
Gate = Literal["gate"]
Report = Literal["report"]
Split = Literal["tune", "gate", "report"]
"""The splits, and each as a type: what is marked with one was made from it, so that mypy keeps the report split from gates."""


@dataclass(frozen=True)
class GateEvidence:
    """Measurements on the gate split at one look. There is no way to make one from the report split.

    Attributes:
        split: the split that was scored.
        catalog: name of the catalog, for thresholds that differ by catalog.
        estimates: by suite or subtask name and metric.
        undecidable: by suite or subtask name, why no decision may rest on it.
        looks: looks that the stage's plan allows; the error rate is shared among them.
    """

    split: Gate
    catalog: str
    estimates: Mapping[tuple[str, str], Estimate]
    undecidable: Mapping[str, str]
    looks: int

    def __post_init__(self) -> None:
        if self.split != "gate":
            raise ValueError(f"a gate is decided on the gate split, never on {self.split!r}")


@dataclass(frozen=True)
class Verdict:
    """What one requirement says.

    Attributes:
        passed: None when the data cannot decide.
        reason: a sentence with the score, its bound and the threshold.
        alpha: one-sided error rate that this look spent.
    """

    passed: bool | None
    reason: str
    alpha: float
