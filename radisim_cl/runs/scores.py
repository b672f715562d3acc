"""A run's scorecards, made from its stored answers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TypeVar

import pandas as pd

from radisim_cl.bench.measure import Measurement, measure, scorecard
from radisim_cl.errors import InputError
from radisim_cl.files import write_atomic
from radisim_cl.records.events import Scored
from radisim_cl.records.evidence import Split
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import RunState
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.plan import Plan

S = TypeVar("S", bound=Split)
KEPT = 32
"""Measurements that a process keeps: those of a run of some six stages, of both splits, of a few MB each."""


def measured(run: Path, plan: Plan, scored: Scored, split: S) -> Measurement[S]:
    """What the stored answers of one scoring say; a process measures the same answers once.

    Raises:
        ValueError: by the ledger they are of another split.
    """
    if scored.split != split:
        raise ValueError(f"{scored.file} holds answers to the {scored.split} split, not to {split!r}")
    found: Measurement[S] = _measured(run / scored.file, scored.digest, plan.benchmark.model_dump_json(), split)
    return found


@functools.lru_cache(maxsize=KEPT)
def _measured(answers: Path, digest: str, benchmark: str, split: S) -> Measurement[S]:
    """Answers whose bytes have this digest."""
    return measure(pd.read_parquet(answers), BenchmarkSpec.model_validate_json(benchmark), split)


def card(plan: Plan, m: Measurement[Split], stage: str | None, look: int, samples: int, notice: str = "") -> Scorecard:
    """The scorecard of one scoring; `notice` is what is to be said beside the plan's."""
    return scorecard(m, plan.benchmark, plan.subtasks, plan.catalog.name, stage, look, samples, " ".join(filter(None, (plan.notice, notice))))


def unseal(run: Path, plan: Plan, state: RunState) -> None:
    """Makes the report split's scorecards, `scores/report-<stage>.json`; only once every stage is accepted.

    Raises:
        InputError: the run has stages to go.
    """
    if len(state.accepted) < len(state.names):
        raise InputError(f"{run}: the report split stays sealed until every stage is accepted")
    for stage, finished in state.accepted.items():
        scored = [s for s in state.scores if s.split == "report" and s.stage == stage and s.attempt == finished.attempt][-1]
        samples = scored.total * plan.curriculum.scale.global_batch
        made = card(plan, measured(run, plan, scored, "report"), stage, scored.look, samples, state.notice)
        write_atomic(run / "scores" / f"report-{stage}.json", made.model_dump_json(indent=1))


def result(run: Path, state: RunState) -> Scorecard:
    """The report split's scorecard of the last stage.

    Raises:
        InputError: the run has not finished.
    """
    path = run / "scores" / f"report-{state.names[-1]}.json"
    if state.status != "finished" or not path.is_file():
        raise InputError(f"{run} has not finished; the report split is sealed until then")
    return Scorecard.model_validate_json(path.read_text())
