"""What each subtask of a benchmark has to be asked about, and why some cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from radisim_cl.bench.items import counted, fewest, items
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.errors import InputError, Problem, SpecError
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.plan import SubtaskPlan

SCORED = ("gate", "report")
"""Splits that a run scores."""


def planned_subtasks(benchmark: BenchmarkSpec, corpora: Corpora, trained: set[str],
                     splits: Sequence[str] = SCORED) -> list[SubtaskPlan]:
    """What each subtask has to be asked about, and why some cannot be.

    Args:
        benchmark: the subtasks.
        corpora: what the catalog has.
        trained: sources that the model was or will be trained on.
        splits: that are scored; a subtask without an item in one of them is missing.

    Raises:
        SpecError: a subtask does not fit its source's columns or masks.
    """
    problems: list[Problem] = []
    asked = asked_items(benchmark, corpora, problems)
    if problems:
        raise SpecError(problems)
    return by_split(benchmark, corpora, trained, asked, splits)


def asked_items(benchmark: BenchmarkSpec, corpora: Corpora, problems: list[Problem]) -> dict[str, pd.DataFrame]:
    """The items of each subtask whose sources the catalog has."""
    out = {}
    for i, subtask in enumerate(benchmark.subtasks):
        if all(part.source in corpora.catalog.corpora for part in subtask.items):
            try:
                out[subtask.id] = items(subtask, corpora)
            except InputError as e:
                problems.append(benchmark.problem(("subtasks", i), str(e)))
    return out


def by_split(benchmark: BenchmarkSpec, corpora: Corpora, trained: set[str], asked: Mapping[str, pd.DataFrame],
              splits: Sequence[str] = SCORED) -> list[SubtaskPlan]:
    """As `planned_subtasks`, from what `asked_items` found."""
    out = []
    for subtask in benchmark.subtasks:
        absent = [part.source for part in subtask.items if part.source not in corpora.catalog.corpora]
        if absent:
            out.append(SubtaskPlan(id=subtask.id, suite=subtask.suite, items={}, patients={},
                                   missing=f"catalog {corpora.catalog.name!r} has no source {absent[0]!r}"))
            continue
        frame = asked[subtask.id]
        splitted = dict(list(frame.groupby("split")))
        counts = {str(s): counted(f) for s, f in splitted.items()}
        empty = [s for s in splits if not counts.get(s)]
        out.append(SubtaskPlan(
            id=subtask.id, suite=subtask.suite, items=counts,
            patients={str(s): fewest(subtask, f) for s, f in splitted.items()},
            images={str(s): len(f) for s, f in splitted.items()},
            missing=f"no item in the {empty[0]} split" if empty else "",
            trained_on=sorted({part.source for part in subtask.items} & trained),
        ))
    return out
