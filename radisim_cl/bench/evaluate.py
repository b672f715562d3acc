"""Scoring a benchmark split: every image decoded and embedded once, however many subtasks use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from radisim_cl.bench import floors
from radisim_cl.bench.items import ITEM, items, pseudonym, structure_index
from radisim_cl.bench.seen import F, Seen
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.images import decode, decode_mask, resize, resize_mask
from radisim_cl.models.embedder import Embedder
from radisim_cl.registry import plugin
from radisim_cl.specs.benchmark import BenchmarkSpec, GroundSubtask
from radisim_cl.specs.plan import SubtaskPlan

COLUMNS = ["by", "subtask", "item", "patient", "truth", "scores"]
PROTOCOLS = "radisim_cl.bench.protocols"
Image = tuple[str, int]
T = TypeVar("T")


def answers(embedder: Embedder, benchmark: BenchmarkSpec, subtasks: list[SubtaskPlan], corpora: Corpora,
            split: Literal["tune", "gate", "report"], readers: int = 2, batch: int = 128) -> pd.DataFrame:
    """What a model answers to each item of a split.

    A protocol that chooses thresholds is shown the tune split too.

    Returns:
        One row an item: `by` ("model"; "mean_mask" where the answer is a place), `subtask`, `item` and `patient` (pseudonyms), `truth`
        (the class), `scores` (K floats; see `read` of the protocol). Where the answer is a place, one row an item and structure.
    """
    specs = {s.id: s for s in benchmark.subtasks if s.id in {p.id for p in subtasks if not p.missing}}
    protocols = {name: plugin(PROTOCOLS, spec.protocol) for name, spec in specs.items()}
    asked = {}
    for name, spec in specs.items():
        frame, wanted = items(spec, corpora), {split, "tune"} if protocols[name].NEEDS.tune else {split}
        asked[name] = frame[frame["split"].isin(wanted)].reset_index(drop=True)
    queries = {name: protocols[name].queries(spec, embedder.texts) for name, spec in specs.items()}
    placed = {name: q for name, q in queries.items() if protocols[name].NEEDS.places}
    vectors, places = _embedded(embedder, asked, placed, corpora, readers, batch)
    parts = []
    for name, spec in specs.items():
        images, patches, masks = _images(asked[name]), np.empty(0, dtype=np.float32), np.empty(0, dtype=np.uint8)
        if isinstance(spec, GroundSubtask) and images:
            patches = np.stack([places[i].cosines[name] for i in images])
            masks = np.stack([structure_index(spec, corpora[i[0]])[places[i].mask] for i in images])
        cosines = np.array([vectors[i] for i in images], dtype=np.float32).reshape(-1, queries[name].shape[1]) @ queries[name].T
        seen = Seen(asked[name], split, cosines, patches, masks)
        parts += [_rows(by, benchmark, name, found) for by, found in protocols[name].score(spec, seen).items() if len(found)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


@dataclass(frozen=True)
class _Place:
    """What is kept of an image with a mask: the cosines of its patches by subtask, (gh, gw, K), and its mask, (S, S)."""

    cosines: dict[str, F]
    mask: npt.NDArray[np.uint8]


def _embedded(embedder: Embedder, asked: Mapping[str, pd.DataFrame], placed: Mapping[str, F], corpora: Corpora, readers: int,
              batch: int) -> tuple[dict[Image, F], dict[Image, _Place]]:
    """Each image's vector, and what is kept of those that subtasks with places ask for, each after one decoding and one pass."""
    wanted: dict[Image, list[str]] = {}
    for name in placed:
        for image in _images(asked[name]):
            wanted.setdefault(image, []).append(name)
    masked = sorted(wanted)
    plain = sorted({image for frame in asked.values() for image in _images(frame)} - set(masked))

    def load(image: Image) -> Tensor:
        return resize(decode(corpora[image[0]].image(image[1])), embedder.preprocess)

    def load_both(image: Image) -> tuple[Tensor, Tensor]:
        corpus, row = corpora[image[0]], image[1]
        pixels, path = decode(corpus.image(row)), corpus.mask(row)
        assert path is not None
        return resize(pixels, embedder.preprocess), resize_mask(decode_mask(path, pixels), embedder.preprocess)

    vectors: dict[Image, F] = {}
    places: dict[Image, _Place] = {}
    with ThreadPoolExecutor(max(1, readers)) as pool:
        if plain:
            vectors |= zip(plain, embedder.images(torch.stack(b) for b in _batches(pool.map(load, plain), batch)), strict=True)
        for loaded in _batches(zip(masked, pool.map(load_both, masked), strict=True), batch):
            whole, patches = embedder.images_and_patches(torch.stack([pixels for _, (pixels, _) in loaded]))
            for (image, (_, mask)), vector, grid in zip(loaded, whole, patches, strict=True):
                vectors[image], places[image] = vector, _Place({name: grid @ placed[name].T for name in wanted[image]}, mask.numpy())
    return vectors, places


def floor_answers(benchmark: BenchmarkSpec, subtasks: list[SubtaskPlan], corpora: Corpora,
                  split: Literal["tune", "gate", "report"], readers: int = 2) -> pd.DataFrame:
    """What the no-learning floors answer where the answer is a class, in the same form as `answers`; the same for every model."""
    specs = {s.id: s for s in benchmark.subtasks if not isinstance(s, GroundSubtask)}
    asked = {p.id: items(specs[p.id], corpora) for p in subtasks if not p.missing and p.id in specs}
    used = {n: f[f["split"].isin(["train", "tune", split])] for n, f in asked.items()}
    unique = sorted({image for frame in used.values() for image in _images(frame)})
    with ThreadPoolExecutor(max(1, readers)) as pool:
        vectors = dict(zip(unique, pool.map(lambda i: floors.features(decode(corpora[i[0]].image(i[1]))), unique), strict=True))
    parts = []
    for name, frame in used.items():
        scored = frame[frame["split"] == split].reset_index(drop=True)
        fit = frame[frame["split"].isin({"train", "tune"} - {split})]
        asked_once = scored.drop_duplicates(ITEM)
        for floor, scores in floors.predict(fit, scored, vectors, len(specs[name].classes)).items():
            parts.append(_rows(floor, benchmark, name, asked_once.assign(scores=scores.tolist())))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _images(frame: pd.DataFrame) -> list[Image]:
    return list(zip(frame["source"], frame["row"], strict=True))


def _batches(found: Iterable[T], size: int) -> Iterator[list[T]]:
    waiting: list[T] = []
    for one in found:
        waiting.append(one)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _rows(by: str, benchmark: BenchmarkSpec, subtask: str, found: pd.DataFrame) -> pd.DataFrame:
    """Answers as they are written down."""
    return pd.DataFrame({
        "by": by, "subtask": subtask, "item": [pseudonym(benchmark, i) for i in found["item"]],
        "patient": [pseudonym(benchmark, p) for p in found["patient"]], "truth": found["truth"].to_numpy(dtype=np.int64),
        "scores": found["scores"].to_list(),
    })
