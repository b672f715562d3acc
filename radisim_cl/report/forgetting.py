"""What a later stage does to what an earlier one taught."""

from __future__ import annotations

from dataclasses import dataclass

from radisim_cl.bench.measure import Measurement, interval
from radisim_cl.records.evidence import Report
from radisim_cl.records.scorecard import Interval
from radisim_cl.stats import difference


@dataclass(frozen=True)
class Cell:
    """A suite after a stage, on the report split.

    Attributes:
        skill: mean skill; None if undecidable.
        change: since the end of the stage that teaches the suite, paired over the same patients; None before it, and at it.
        when: `before`, `at` or `after` that stage; empty where no stage has the suite's name.
    """

    skill: Interval | None
    change: Interval | None
    when: str

    @property
    def lost(self) -> bool:
        """Whether forgetting is shown: the interval of the change lies below 0."""
        return self.change is not None and self.change.high < 0


def forgetting(after: dict[str, Measurement[Report]], suites: list[str]) -> dict[str, dict[str, Cell]]:
    """By stage and suite.

    Args:
        after: by stage, in order, the report split's measurement when it had ended.
        suites: of the benchmark; a suite's stage is the one of its name.
    """
    order = list(after)
    out: dict[str, dict[str, Cell]] = {}
    for i, stage in enumerate(order):
        row = {}
        for suite in suites:
            now = after[stage].estimates.get((suite, "skill"))
            own = order.index(suite) if suite in order else None
            when = "" if own is None else "before" if i < own else "at" if i == own else "after"
            then = after[suite].estimates.get((suite, "skill")) if when == "after" else None
            row[suite] = Cell(interval(now) if now else None, interval(difference(now, then)) if now and then else None, when)
        out[stage] = row
    return out
