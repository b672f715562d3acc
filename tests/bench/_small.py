"""The small world's benchmark, opened; and frames of answers written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from conftest import World
from PIL import Image

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


def with_every_protocol(world: World) -> World:
    """The world with a study and a mask in every row, and a subtask of each protocol beside its own.

    Every shape is in the tune split. A patient's two pictures are one study. A mask has the drawn shape, whose
    value says which it is, and a pixel of something else in its corner.
    """
    path, shapes = world.root / "data" / "manifest.csv", ["head", "chest", "knee"]
    frame = pd.read_csv(path)
    (world.root / "data" / "masks").mkdir()
    for row in frame.itertuples():
        pixels = np.asarray(Image.open(world.root / "data" / str(row.image)))
        mask = np.where(pixels > 60, 1 + shapes.index(str(row.anatomy)), 0)
        mask[-1, -1] = 9
        Image.fromarray(mask.astype(np.uint8)).save(world.root / "data" / "masks" / f"{row.id}.png")
    frame.assign(study="study of " + frame["patient"], mask="masks/" + frame["id"] + ".png").to_csv(path, index=False)
    catalog = yaml.safe_load((world.root / "catalogs" / "toy.yaml").read_text())
    catalog["corpora"]["drawn"]["splits"] = {"*": {"train": 0.3, "tune": 0.2, "gate": 0.25, "report": 0.25}}
    catalog["corpora"]["drawn"]["structures"] = {i + 1: s for i, s in enumerate(shapes)} | {9: "corner"}
    world.edit("catalogs/toy.yaml", corpora=catalog["corpora"])
    usual = {"suite": "modality", "items": [{"source": "drawn"}]}
    more: list[dict[str, object]] = [
        {"id": "vol.mr", "protocol": "volume", "column": "modality", "metric": "auc", "classes": {
            "other": {"values": ["CT", "DR"], "prompts": ["CT of the head", "chest radiograph", "knee CT"]},
            "MR": {"values": ["MR"], "prompts": ["MRI of the head", "T2 MRI"]}}},
        {"id": "grade.three", "protocol": "ordinal", "column": "anatomy", "metric": "quadratic_kappa", "classes": {
            a: {"values": [a], "names": [a]} for a in shapes}},
        {"id": "loc.shape", "protocol": "ground", "metric": "box_iou", "structures": shapes, "vocabulary": {
            "background": ["background", "air"]} | {a: [a] for a in shapes}},
        {"id": "ret.caption", "protocol": "retrieve", "metric": "i2t_recall_1"},
    ]
    subtasks = yaml.safe_load((world.root / "benchmarks" / "toy.yaml").read_text())["subtasks"]
    world.edit("benchmarks/toy.yaml", subtasks=subtasks + [usual | m for m in more])
    return world
