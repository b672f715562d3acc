"""What a gate can require before a stage is over. `radisim_cl/gates/<kind>.py` decides it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from radisim_cl.specs.base import Spec


class ThresholdSpec(Spec):
    """The lower confidence bound of a suite's or a subtask's score reaches a value."""

    kind: Literal["threshold"] = "threshold"
    """Which requirement: the name of a file in `gates/`."""
    suite: str | None = None
    """Suite of the benchmark: the mean over its decidable subtasks. One of `suite` and `subtask`."""
    subtask: str | None = None
    """Subtask of the benchmark."""
    metric: str = "skill"
    """`skill` = (score - chance) / (1 - chance) of the primary metric; for a subtask also any metric that its protocol has."""
    at_least: float | dict[str, float]
    """The value to reach, or one per catalog with `default`: `{default: 0.6, phantom: 0.3}`."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """One-sided confidence of the bound, held over all looks of the stage together."""

    @model_validator(mode="after")
    def _one_target(self) -> ThresholdSpec:
        if (self.suite is None) == (self.subtask is None):
            raise ValueError("name exactly one of 'suite' and 'subtask'")
        if isinstance(self.at_least, dict) and "default" not in self.at_least:
            raise ValueError("'at_least' by catalog needs an entry 'default'")
        return self

    def value_for(self, catalog: str) -> float:
        """The threshold that holds with a catalog."""
        if isinstance(self.at_least, dict):
            return self.at_least.get(catalog, self.at_least["default"])
        return self.at_least


RequirementSpec = ThresholdSpec
"""One requirement of a gate; a discriminated union once there is a second kind."""


class GateSpec(Spec):
    """When a stage is over. All requirements must hold at one look."""

    requires: list[RequirementSpec] = Field(min_length=1)
    """What has to be shown on the gate split."""
    mode: Literal["enforce", "observe", "off"] = "enforce"
    """`enforce`: act on the decision; `observe`: decide and record, then advance; `off`: score, decide nothing, advance."""
    looks: int = Field(2, ge=1, le=20)
    """How often at most the gate split is looked at in this stage: once at its end, then once after each extension."""
    on_fail: Literal["extend", "stop"] = "extend"
    """After a look that did not pass: train on within the reserve, or stop the run with exit code 3."""
    extend_by: float = Field(0.5, gt=0, le=2)
    """Length of one extension, as a share of the stage's own samples; never beyond the reserve."""
