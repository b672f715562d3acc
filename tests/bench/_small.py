"""The small world's benchmark, opened; and frames of answers written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from conftest import World

from radisim_cl.bench.items import MODEL
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.models.build import Built, build
from radisim_cl.specs.benchmark import BenchmarkSpec, load_benchmark
from radisim_cl.specs.catalog import load_catalog
from radisim_cl.specs.curriculum import ModelSpec
from radisim_cl.specs.plan import SubtaskPlan


def opened(world: World) -> tuple[BenchmarkSpec, Corpora]:
    """The world's benchmark and corpora."""
    benchmark = load_benchmark("toy", world.root)
    return benchmark, Corpora(load_catalog("toy", world.root), benchmark.version)


def model(world: World) -> Built:
    """The micro model with random weights."""
    return build(ModelSpec(arch=f"local-dir:{world.root / 'model'}"), seed=0)


def plans(benchmark: BenchmarkSpec, **missing: str) -> list[SubtaskPlan]:
    """A plan for each subtask; those named are missing."""
    return [SubtaskPlan(id=s.id, suite=s.suite, items={}, patients={}, missing=missing.get(s.id, "")) for s in benchmark.subtasks]


def benchmark(*subtasks: dict[str, object]) -> BenchmarkSpec:
    """Subtasks that ask whether there is a mass, unless they say otherwise."""
    usual = {"suite": "dx", "items": [{"source": "drawn"}], "column": "label", "metric": "accuracy",
             "classes": {"normal": {"values": ["normal"], "names": ["normal"]}, "mass": {"values": ["mass"], "names": ["mass"]}}}
    return BenchmarkSpec.model_validate({"name": "small", "version": "1", "subtasks": [usual | s for s in subtasks]})


def answered(subtask: str, truth: Sequence[int], scores: Sequence[int] | npt.NDArray[np.float64], patients: Sequence[str] | None = None,
             by: str = MODEL, classes: int = 2) -> pd.DataFrame:
    """Rows of answers; scores may be the chosen classes."""
    given = np.asarray(scores, dtype=float)
    table = np.eye(classes)[given.astype(int)] if given.ndim == 1 else given
    names = [f"p{i:02d}" for i in range(len(truth))] if patients is None else list(patients)
    return pd.DataFrame({"by": by, "subtask": subtask, "item": [f"{subtask}-{i}" for i in range(len(truth))], "patient": names,
                         "truth": list(truth), "scores": table.tolist()})
