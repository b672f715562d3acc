"""What is wrong with the gates of a curriculum, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Collection

from radisim_cl.errors import Problem
from radisim_cl.registry import hint
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.curriculum import CurriculumSpec
from radisim_cl.specs.gates import PlateauSpec, RetentionSpec, leaves
from radisim_cl.specs.metrics import RANGES, rising


def gate_problems(spec: CurriculumSpec, benchmark: BenchmarkSpec) -> list[Problem]:
    """Targets, metrics and thresholds that do not fit the benchmark, and policies that cannot be followed."""
    out = []
    subtasks = {s.id: s for s in benchmark.subtasks}
    for i, stage in enumerate(spec.stages):
        if stage.gate.on_fail == "replay_up" and i == 0 and spec.gate_mode(stage) == "enforce":
            out.append(spec.problem(("stages", 0, "gate", "on_fail"), "'replay_up' has nothing to replay in the first stage; use extend, rollback, "
                                                                      "advance_flagged or stop"))
        for place, need in leaves(stage.gate.requires):
            at: tuple[str | int, ...] = ("stages", i, "gate", "requires", *place)
            if isinstance(need, RetentionSpec):
                continue
            if need.suite is not None and need.suite not in benchmark.suites:
                out.append(spec.problem((*at, "suite"), f"unknown suite {need.suite!r} in benchmark {benchmark.name!r}. "
                                                        f"{hint(need.suite, benchmark.suites)}"))
            if need.subtask is not None and need.subtask not in subtasks:
                out.append(spec.problem((*at, "subtask"), f"unknown subtask {need.subtask!r} in benchmark {benchmark.name!r}. "
                                                          f"{hint(need.subtask, subtasks)}"))
            known: tuple[str, ...] = ("skill",)
            if need.subtask in subtasks:
                known += rising(subtasks[need.subtask].protocol)
            if need.metric not in known and (need.suite or need.subtask in subtasks):
                out.append(spec.problem((*at, "metric"), f"{need.suite or need.subtask!r} has no metric {need.metric!r}. "
                                                         f"{hint(need.metric, known)}"))
                continue
            if isinstance(need, PlateauSpec):
                continue
            low, high = RANGES.get(need.metric, (-math.inf, math.inf))
            values = need.at_least if isinstance(need.at_least, dict) else {"at_least": need.at_least}
            for where, value in values.items():
                if not low <= value <= high:
                    out.append(spec.problem((*at, "at_least"), f"{where}: {value:g} can never be reached or never be missed; "
                                                               f"{need.metric} lies between {low:g} and {high:g}"))
    return out


def unscored(spec: CurriculumSpec, available: Collection[str], catalog: str) -> list[Problem]:
    """Gates that ask about what the catalog has no data for.

    Args:
        spec: the curriculum.
        available: suites and subtasks that can be scored.
        catalog: its name.
    """
    return [spec.problem(("stages", i, "gate", "requires", *at), f"{need.target!r} has no data in catalog {catalog!r}; it has "
                                                                 f"{', '.join(sorted(available)) or 'none'}")
            for i, stage in enumerate(spec.stages) for at, need in leaves(stage.gate.requires)
            if not isinstance(need, RetentionSpec) and need.target not in available]
