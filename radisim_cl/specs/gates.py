"""What a gate can require before a stage is over. `radisim_cl/gates/<kind>.py` decides it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from radisim_cl.specs.base import Spec

Place = tuple[str | int, ...]
"""Where a requirement stands below `requires`: `(0, "requires", 1)`."""


class _Target(Spec):
    suite: str | None = None
    """Suite of the benchmark: the mean over its decidable subtasks. One of `suite` and `subtask`."""
    subtask: str | None = None
    """Subtask of the benchmark."""
    metric: str = "skill"
    """`skill` = (score - chance) / (1 - chance) of the primary metric; for a subtask also any metric that its protocol has."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """One-sided confidence of the bound, held over all looks and attempts of the stage together."""

    @model_validator(mode="after")
    def _one_target(self) -> _Target:
        if (self.suite is None) == (self.subtask is None):
            raise ValueError("name exactly one of 'suite' and 'subtask'")
        return self

    @property
    def target(self) -> str:
        """The suite or the subtask."""
        return self.suite or self.subtask or ""


class ThresholdSpec(_Target):
    """The lower confidence bound of a suite's or a subtask's score reaches a value."""

    kind: Literal["threshold"] = "threshold"
    """Which requirement: the name of a file in `gates/`."""
    at_least: float | dict[str, float]
    """The value to reach, or one per catalog with `default`: `{default: 0.6, phantom: 0.3}`."""

    @model_validator(mode="after")
    def _a_default(self) -> ThresholdSpec:
        if isinstance(self.at_least, dict) and "default" not in self.at_least:
            raise ValueError("'at_least' by catalog needs an entry 'default'")
        return self

    def value_for(self, catalog: str) -> float:
        """The threshold that holds with a catalog."""
        if isinstance(self.at_least, dict):
            return self.at_least.get(catalog, self.at_least["default"])
        return self.at_least

    def told(self, catalog: str) -> str:
        """In a line."""
        return f"lower bound of {self.target} {self.metric} >= {self.value_for(catalog):g}"


class PlateauSpec(_Target):
    """A score has stopped rising: its paired gain over the last looks is shown to be smaller than `less_than`."""

    kind: Literal["plateau"] = "plateau"
    """Which requirement: the name of a file in `gates/`."""
    looks: int = Field(1, ge=1, le=10)
    """Over how many looks; the state that entered the stage counts as one."""
    less_than: float = Field(0.02, gt=0)
    """The gain that would be worth going on for, in the units of the score; the upper confidence bound has to lie below it."""

    def told(self, catalog: str) -> str:
        """In a line."""
        return f"{self.target} {self.metric} gains < {self.less_than:g} in {self.looks} look{'s' * (self.looks > 1)}"


class RetentionSpec(Spec):
    """What earlier stages' gates asked about is not forgotten: the paired change since the stage's entry, by suite (or subtask) mean."""

    kind: Literal["retention"] = "retention"
    """Which requirement: the name of a file in `gates/`."""
    max_drop: float = Field(0.05, ge=0, lt=1)
    """Skill that may be lost."""
    strict: bool = False
    """False: fails when a larger drop is shown, and else says which drop it could have seen. True: passes when a larger drop is ruled out
    (non-inferiority), which takes many patients."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """One-sided confidence of the bounds, held over all suites, looks and attempts of the stage together."""

    def told(self, catalog: str) -> str:
        """In a line."""
        return f"earlier skills: a drop of more than {self.max_drop:g} {'is ruled out' if self.strict else 'is not shown'}"


class AllOfSpec(Spec):
    """All of some requirements."""

    kind: Literal["all_of"] = "all_of"
    """Which requirement: the name of a file in `gates/`."""
    requires: list[RequirementSpec] = Field(min_length=1)
    """Each at its own confidence: that all pass wrongly is not likelier than that one does."""

    def told(self, catalog: str) -> str:
        """In a line."""
        return "(" + " and ".join(r.told(catalog) for r in self.requires) + ")"


class AnyOfSpec(Spec):
    """At least one of some requirements."""

    kind: Literal["any_of"] = "any_of"
    """Which requirement: the name of a file in `gates/`."""
    requires: list[RequirementSpec] = Field(min_length=1)
    """They share the error rate equally, for each is another chance to pass wrongly."""

    def told(self, catalog: str) -> str:
        """In a line."""
        return "(" + " or ".join(r.told(catalog) for r in self.requires) + ")"


RequirementSpec = Annotated[ThresholdSpec | RetentionSpec | PlateauSpec | AllOfSpec | AnyOfSpec, Field(discriminator="kind")]
"""One requirement of a gate."""
for _nested in (AllOfSpec, AnyOfSpec):
    _nested.model_rebuild(force=True)  # so that the annotation of `requires` is the union, and not its name


def leaves(requires: Sequence[RequirementSpec], at: Place = ()) -> Iterator[tuple[Place, ThresholdSpec | RetentionSpec | PlateauSpec]]:
    """The requirements that look at scores, with where they stand below `requires`."""
    for i, r in enumerate(requires):
        if isinstance(r, AllOfSpec | AnyOfSpec):
            yield from leaves(r.requires, (*at, i, "requires"))
        else:
            yield (*at, i), r


class GateSpec(Spec):
    """When a stage is over. All requirements must hold at one look."""

    requires: list[RequirementSpec] = Field(min_length=1)
    """What has to be shown on the gate split."""
    mode: Literal["enforce", "observe", "off"] = "enforce"
    """`enforce`: act on the decision; `observe`: decide and record, then advance; `off`: score, decide nothing, advance."""
    looks: int = Field(2, ge=1, le=20)
    """How often at most the gate split is looked at in an attempt: once at the stage's end, then once after each extension."""
    on_fail: Literal["extend", "replay_up", "rollback", "advance_flagged", "stop"] = "extend"
    """After a look that did not pass. `extend`: train on. `replay_up`: train on with more of what earlier stages taught, above all of what was
    forgotten. `rollback`: back to where the stage began, and another try with other samples. All within the reserve; then comes `then`."""
    then: Literal["stop", "advance_flagged"] = "stop"
    """When looks, attempts or reserve are used up, or the data cannot decide. `stop`: exit code 3. `advance_flagged`: go on, and all pages say so."""
    extend_by: float = Field(0.5, gt=0, le=2)
    """Length of one extension or repair, as a share of the stage's own samples; never beyond the reserve."""
    max_attempts: int = Field(2, ge=1, le=10)
    """Of `replay_up` and `rollback`, the first included. Each is a new key of the sample stream, and has half of the error rate of the one before."""
    replay_up: float = Field(0.5, gt=0, lt=1)
    """Share of the stage's own part of a batch that `replay_up` gives to earlier stages."""
    rollback_lr: float = Field(1.0, gt=0, le=1)
    """Factor of the learning rate in each attempt after a rollback."""

    @property
    def compares(self) -> bool:
        """Whether a requirement looks at changes, and not at this look alone."""
        return any(not isinstance(r, ThresholdSpec) for _, r in leaves(self.requires))

    @property
    def targets(self) -> list[str]:
        """The suites and subtasks that it asks about."""
        return list(dict.fromkeys(r.target for _, r in leaves(self.requires) if not isinstance(r, RetentionSpec)))
