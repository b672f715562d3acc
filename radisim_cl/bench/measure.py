"""From answers to estimates, and from estimates to a scorecard. Pure: a run's stored answers give the same scorecard again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import pandas as pd

from radisim_cl.bench.items import MODEL, TEMPLATE
from radisim_cl.records.evidence import Estimates, Gate, GateEvidence, Split
from radisim_cl.records.scorecard import Interval, Scorecard, SubtaskScore, SuiteScore
from radisim_cl.registry import plugin
from radisim_cl.specs.benchmark import BenchmarkSpec, SubtaskSpec
from radisim_cl.specs.metrics import BY_PROTOCOL
from radisim_cl.specs.plan import SubtaskPlan
from radisim_cl.stats import Answers, Estimate, Resamples, Values, difference, mean, overlap

S = TypeVar("S", bound=Split)
S_co = TypeVar("S_co", bound=Split, covariant=True)


@dataclass(frozen=True)
class Measurement(Generic[S_co]):
    """All estimates of one split, which its type names: `Measurement[Gate]`.

    Attributes:
        split: which.
        estimates: by subtask or suite, and metric; undefined ones are absent.
        undecidable: by subtask or suite, why.
        chance: by subtask.
        floors: by subtask and floor, the primary metric.
        answers: by subtask, what was answered.
        spread: by subtask and template, the primary metric with this template alone, where it was asked for.
        detectable: by subtask or suite, the difference from chance that could have been seen (`Estimate.detectable`); absent if none could.
    """

    split: S_co
    estimates: dict[tuple[str, str], Estimate] = field(default_factory=dict)
    undecidable: dict[str, str] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    floors: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    answers: dict[str, Answers | Values] = field(default_factory=dict)
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    detectable: dict[str, float] = field(default_factory=dict)


def measure(frame: pd.DataFrame, benchmark: BenchmarkSpec, split: S) -> Measurement[S]:
    """Estimates from the answers of the model and of the floors.

    All subtasks are resampled with the same draws of patients, so that a suite's interval knows of shared patients.

    Args:
        frame: rows of `evaluate.answers` and `evaluate.floor_answers` on one split.
        benchmark: the subtasks.
        split: which split the rows are of.
    """
    resamples = Resamples.draw(frame["patient"].tolist())
    out = Measurement(split)
    for spec in benchmark.subtasks:
        rows = frame[frame["subtask"] == spec.id]
        given = plugin("radisim_cl.bench.protocols", spec.protocol).read(spec, rows) if len(rows) else {}
        if MODEL not in given:
            out.undecidable[spec.id] = f"no item in the {split} split"
            continue
        _measure_subtask(spec, given, resamples, out)
    for suite, subtasks in benchmark.suites.items():
        usable = [s.id for s in subtasks if s.id not in out.undecidable]
        if usable:
            skill = mean([out.estimates[i, "skill"] for i in usable], overlap([out.answers[i].patients for i in usable]))
            out.estimates[suite, "skill"] = skill
            if seen := skill.detectable():
                out.detectable[suite] = seen
        else:
            out.undecidable[suite] = "none of its subtasks can be decided: " + "; ".join(
                f"{s.id}, {out.undecidable[s.id]}" for s in subtasks)
    return out


def _measure_subtask(spec: SubtaskSpec, given: Mapping[str, Answers | Values], resamples: Resamples,
                     out: Measurement[Split]) -> None:
    model = given[MODEL]
    out.answers[spec.id] = model
    if why := plugin("radisim_cl.bench.protocols", spec.protocol).lacking(spec, model):
        out.undecidable[spec.id] = why
    for metric in BY_PROTOCOL[spec.protocol]:
        try:
            out.estimates[spec.id, metric] = model.estimate(metric, resamples)
        except ValueError as e:
            if metric == spec.metric:
                out.undecidable.setdefault(spec.id, str(e))
    primary, chance = out.estimates.get((spec.id, spec.metric)), model.chance(spec.metric)
    if primary is None or chance is None:  # why not has been said above
        return
    if chance >= 1:
        out.undecidable.setdefault(spec.id, f"chance is {chance:g}, which leaves nothing to find out by looking")
        return
    out.chance[spec.id] = chance
    out.estimates[spec.id, "skill"] = primary.rescaled(chance)
    out.floors[spec.id] = {by: a.estimate(spec.metric, resamples) for by, a in given.items() if by != MODEL and not by.startswith(TEMPLATE)}
    for template, alone in spec.by_template().items():
        answers = given.get(TEMPLATE + alone.prompts_digest())
        if isinstance(answers, Answers):
            with suppress(ValueError):
                out.spread.setdefault(spec.id, {})[template] = answers.value(spec.metric)
    if seen := primary.detectable(chance):
        out.detectable[spec.id] = seen
    if spec.id in out.undecidable:
        out.undecidable[spec.id] += f"; a gate could have seen a difference of {seen:.2f} or more" if seen else "; no difference could have been seen"


def changes(now: Measurement[S], before: Measurement[S], benchmark: BenchmarkSpec) -> dict[tuple[str, str], Estimate]:
    """Paired changes by subtask or suite, and metric; a suite's is the mean over the subtasks that could be decided both times.

    Args:
        now, before: answers of two models to the same items.
        benchmark: the subtasks.
    """
    usable = {s.id for s in benchmark.subtasks} - now.undecidable.keys() - before.undecidable.keys()
    out = {key: difference(now.estimates[key], before.estimates[key]) for key in now.estimates if key[0] in usable and key in before.estimates}
    for suite, subtasks in benchmark.suites.items():
        both = [s.id for s in subtasks if s.id in usable]
        if both:
            shared = overlap([now.answers[i].patients for i in both])
            out[suite, "skill"] = difference(*(mean([m.estimates[i, "skill"] for i in both], shared) for m in (now, before)))
    return out


def evidence(m: Measurement[Gate], catalog: str, share: float = 1.0, changes: Sequence[Estimates] = (), learned: Sequence[str] = ()) -> GateEvidence:
    """What a gate may see of a measurement, as `GateEvidence` has it. That of another split does not type-check, and is refused."""
    return GateEvidence(m.split, catalog, m.estimates, m.undecidable, share, changes, learned)


def scorecard(m: Measurement[Split], benchmark: BenchmarkSpec, plans: list[SubtaskPlan], catalog: str, stage: str | None, look: int,
              samples: int, notice: str = "", model: str = "") -> Scorecard:
    """The measurement with 95 % intervals, and what the catalog wants said beside them."""
    plan = {p.id: p for p in plans}
    subtasks = [
        SubtaskScore(
            id=s.id, suite=s.suite, metric=s.metric,
            scores={k: interval(m.estimates[s.id, k]) for k in BY_PROTOCOL[s.protocol] if (s.id, k) in m.estimates},
            skill=interval(m.estimates[s.id, "skill"]) if (s.id, "skill") in m.estimates else None,
            chance=m.chance.get(s.id), items=len(m.answers[s.id].patients),
            patients=dict(zip(s.labels, m.answers[s.id].patients_by_class, strict=True)),
            patients_in_all=len(np.unique(m.answers[s.id].patients)),
            undecidable=m.undecidable.get(s.id, ""), floors={k: interval(e) for k, e in m.floors.get(s.id, {}).items()},
            prompts=s.prompts_digest(), spread=m.spread.get(s.id, {}), detectable=m.detectable.get(s.id), trained_on=plan[s.id].trained_on,
        )
        for s in benchmark.subtasks if s.id in m.answers
    ]
    suites = [
        SuiteScore(suite=suite, skill=interval(m.estimates[suite, "skill"]) if (suite, "skill") in m.estimates else None,
                   detectable=m.detectable.get(suite), subtasks=[s.id for s in specs if s.id not in m.undecidable],
                   left_out=[s.id for s in specs if s.id in m.undecidable])
        for suite, specs in benchmark.suites.items()
    ]
    missing = {p.id: p.missing for p in plans if p.missing}
    return Scorecard(benchmark=benchmark.name, version=benchmark.version, catalog=catalog, split=m.split, stage=stage, look=look,
                     samples=samples, model=model, subtasks=subtasks, suites=suites, missing=missing, notice=notice)


def interval(e: Estimate) -> Interval:
    """An estimate with its 95 % interval."""
    low, high = e.bounds(0.025)
    return Interval(value=e.value, low=low, high=high)
