"""Scoring a benchmark split: every image decoded and embedded once, however many subtasks use it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from radisim_cl.bench import floors
from radisim_cl.bench.items import MODEL, items, pseudonym
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.images import decode, resize
from radisim_cl.models.embedder import Embedder
from radisim_cl.registry import plugin
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.plan import SubtaskPlan

Image = tuple[str, int]

def answers(embedder: Embedder, benchmark: BenchmarkSpec, subtasks: list[SubtaskPlan], corpora: Corpora,
            split: Literal["tune", "gate", "report"], readers: int = 2, batch: int = 128) -> pd.DataFrame:
    """What a model answers to each item of a split.

    Returns:
        One row an item: `by` ("model"), `subtask`, `item` and `patient` (pseudonyms), `truth`, `scores` (K floats).
    """
    specs = {s.id: s for s in benchmark.subtasks}
    asked = {p.id: items(specs[p.id], corpora, split) for p in subtasks if not p.missing}
    unique = sorted({image for frame in asked.values() for image in _images(frame)})
    with ThreadPoolExecutor(max(1, readers)) as pool:
        decoded = pool.map(lambda i: resize(decode(corpora[i[0]].image(i[1])), embedder.preprocess), unique)
        vectors = embedder.images(_stacked(decoded, batch))
    position = {image: i for i, image in enumerate(unique)}
    parts = []
    for name, frame in asked.items():
        protocol = plugin("radisim_cl.bench.protocols", specs[name].protocol)
        images = vectors[[position[i] for i in _images(frame)]]
        scores = protocol.score(specs[name], images, embedder.texts(protocol.texts(specs[name])))
        parts.append(_rows(MODEL, benchmark, name, frame, scores, corpora))
    return pd.concat(parts, ignore_index=True)


def floor_answers(benchmark: BenchmarkSpec, subtasks: list[SubtaskPlan], corpora: Corpora,
                  split: Literal["tune", "gate", "report"], readers: int = 2) -> pd.DataFrame:
    """What the no-learning floors answer, in the same form as `answers`; the same for every model."""
    specs = {s.id: s for s in benchmark.subtasks}
    asked = {p.id: items(specs[p.id], corpora) for p in subtasks if not p.missing}
    used = {n: f[f["split"].isin(["train", "tune", split])] for n, f in asked.items()}
    unique = sorted({image for frame in used.values() for image in _images(frame)})
    with ThreadPoolExecutor(max(1, readers)) as pool:
        vectors = dict(zip(unique, pool.map(lambda i: floors.features(decode(corpora[i[0]].image(i[1]))), unique), strict=True))
    parts = []
    for name, frame in used.items():
        scored = frame[frame["split"] == split].reset_index(drop=True)
        fit = frame[frame["split"].isin({"train", "tune"} - {split})]
        for floor, scores in floors.predict(fit, scored, vectors, len(specs[name].classes)).items():
            parts.append(_rows(floor, benchmark, name, scored, scores, corpora))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["by", "subtask", "item", "patient", "truth", "scores"])


def _images(frame: pd.DataFrame) -> list[Image]:
    return list(zip(frame["source"], frame["row"], strict=True))


def _stacked(images: Iterator[Tensor], batch: int) -> Iterator[Tensor]:
    waiting: list[Tensor] = []
    for image in images:
        waiting.append(image)
        if len(waiting) == batch:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)


def _rows(by: str, benchmark: BenchmarkSpec, subtask: str, frame: pd.DataFrame, scores: npt.NDArray[np.floating],
          corpora: Corpora) -> pd.DataFrame:
    ids = [str(corpora[s].frame.at[r, "id"]) for s, r in _images(frame)]
    return pd.DataFrame({
        "by": by, "subtask": subtask, "item": [pseudonym(benchmark, i) for i in ids],
        "patient": [pseudonym(benchmark, p) for p in frame["patient"]], "truth": frame["truth"],
        "scores": [s.tolist() for s in np.asarray(scores, dtype=np.float64)],
    })
