"""Scoring a benchmark split: every image decoded and embedded once, however many subtasks use it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from radisim_cl.bench import floors
from radisim_cl.bench.items import ITEM, MODEL, TEMPLATE, items, pseudonym, structure_index
from radisim_cl.bench.kept import Kept, Memory
from radisim_cl.bench.seen import Embed, F, Seen
from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.images import UnreadableError, decode, decode_mask, resize, resize_mask
from radisim_cl.models.embedder import Embedder
from radisim_cl.registry import plugin
from radisim_cl.specs.benchmark import BenchmarkSpec, GroundSubtask, LabelledSubtask, SubtaskSpec
from radisim_cl.specs.plan import SubtaskPlan

COLUMNS = ["by", "subtask", "item", "patient", "truth", "scores"]
PROTOCOLS = "radisim_cl.bench.protocols"
Image = tuple[str, int]
T = TypeVar("T")
Show = Callable[[SubtaskSpec, Seen, Mapping[str, pd.DataFrame]], None]


def answers(embedder: Embedder, benchmark: BenchmarkSpec, subtasks: list[SubtaskPlan], corpora: Corpora,
            split: Literal["tune", "gate", "report"], readers: int = 2, batch: int = 128, memory: Memory | None = None,
            show: Show | None = None, templates: bool = False) -> pd.DataFrame:
    """What a model answers to each item of a split.

    A protocol that chooses thresholds is shown the tune split too.

    Args:
        embedder: the model.
        benchmark: the subtasks, with their prompts.
        subtasks: those that are not missing are asked.
        corpora: where the images are.
        split: whose items are answered.
        readers: threads that read and decode.
        batch: images a pass.
        memory: what is known of the model already, and takes in what is found out; nothing, and forgotten, if None.
        show: is called for each subtask with what the protocol saw and answered.
        templates: answers too with each template alone, where class embeddings are means over several.

    Returns:
        One row an item: `by` ("model"; "mean_mask" where the answer is a place; "template " and the digest of its prompts), `subtask`, `item`
        and `patient` (pseudonyms), `truth` (the class; of a caption, its number), `scores` (K floats; see `read` of the protocol). Where the
        answer is a place, one row an item and structure.
    """
    specs = {s.id: s for s in benchmark.subtasks if s.id in {p.id for p in subtasks if not p.missing}}
    protocols = {name: plugin(PROTOCOLS, spec.protocol) for name, spec in specs.items()}
    asked = {name: items(spec, corpora, split, *["tune"] if protocols[name].NEEDS.tune else []) for name, spec in specs.items()}
    images_of = {name: _images(frame) for name, frame in asked.items()}
    memory = memory or Memory(None)
    embed: Embed = lambda texts: memory.embedded(texts, embedder.texts)  # noqa: E731
    queries = {name: protocols[name].queries(spec, asked[name], embed) for name, spec in specs.items()}
    placed = {name: q for name, q in queries.items() if protocols[name].NEEDS.places}
    vectors, places = _embedded(embedder, images_of, placed, corpora, readers, batch, memory)
    parts = []
    for name, spec in specs.items():
        images, patches, masks = images_of[name], np.empty(0, dtype=np.float32), np.empty(0, dtype=np.uint8)
        if isinstance(spec, GroundSubtask) and images:
            patches = np.stack([places[i].cosines[name] for i in images])
            masks = np.stack([structure_index(spec, corpora[i[0]])[places[i].mask] for i in images])
        whole = np.array([vectors[i] for i in images], dtype=np.float32).reshape(len(images), queries[name].shape[1])
        seen = Seen(asked[name], split, whole, queries[name], patches, masks)
        given = protocols[name].score(spec, seen)
        if show:
            show(spec, seen, given)
        for alone in spec.by_template().values() if templates else ():
            queried = replace(seen, queries=protocols[name].queries(alone, asked[name], embed))
            given[TEMPLATE + alone.prompts_digest()] = protocols[name].score(alone, queried)[MODEL]
        parts += [_rows(by, benchmark, name, found) for by, found in given.items() if len(found)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


@dataclass(frozen=True)
class _Place:
    """What is kept of an image with a mask: the cosines of its patches by subtask, (gh, gw, K), and its mask, (S, S)."""

    cosines: dict[str, F]
    mask: npt.NDArray[np.uint8]


def _embedded(embedder: Embedder, asked: Mapping[str, list[Image]], placed: Mapping[str, F], corpora: Corpora, readers: int,
              batch: int, memory: Memory) -> tuple[dict[Image, F], dict[Image, _Place]]:
    """Each image's vector, and what is kept of those that subtasks with places ask for, each after at most one decoding and one pass."""
    wanted: dict[Image, list[str]] = {}
    for name in placed:
        for image in asked[name]:
            wanted.setdefault(image, []).append(name)
    masked = sorted(wanted)
    plain = sorted(set().union(*asked.values()) - set(masked))
    of_queries = {name: hashlib.sha256(q.tobytes()).hexdigest() for name, q in placed.items()}

    def key(image: Image) -> str:
        return corpora[image[0]].image(image[1]).sha256()

    def mask_key(image: Image) -> str:
        mask = corpora[image[0]].mask(image[1])
        assert mask is not None
        return mask.sha256()

    def load(image: Image) -> Tensor:
        return resize(decode(corpora[image[0]].image(image[1])), embedder.preprocess)

    def load_both(image: Image) -> tuple[Tensor, Tensor]:
        corpus, row = corpora[image[0]], image[1]
        pixels, mask = decode(corpus.image(row)), corpus.mask(row)
        assert mask is not None
        return resize(pixels, embedder.preprocess), resize_mask(decode_mask(mask, pixels), embedder.preprocess)

    with ThreadPoolExecutor(max(1, readers)) as pool:
        keys = dict(zip([*plain, *masked], pool.map(key, [*plain, *masked]), strict=True))
        mask_keys = {i: f"{m}-{keys[i]}" for i, m in zip(masked, pool.map(mask_key, masked), strict=True)}
        place_keys = {i: {name: f"{keys[i]}-{of_queries[name]}" for name in wanted[i]} for i in masked}
        new = {keys[i]: i for i in plain if keys[i] not in memory.images}
        if new:
            found = embedder.images(torch.stack(b) for b in _batches(pool.map(load, new.values()), batch))
            memory.images.add(zip(new, found, strict=True))
        unseen = [i for i in masked if memory.images.lacking([keys[i]]) or memory.masks.lacking([mask_keys[i]])
                  or memory.places.lacking(place_keys[i].values())]
        for loaded in _batches(zip(unseen, pool.map(load_both, unseen), strict=True), batch):
            whole, patches = embedder.images_and_patches(torch.stack([pixels for _, (pixels, _) in loaded]))
            for (image, (_, mask)), vector, grid in zip(loaded, whole, patches, strict=True):
                memory.images.add([(keys[image], vector)])
                memory.masks.add([(mask_keys[image], mask.numpy())])
                memory.places.add((k, grid @ placed[name].T) for name, k in place_keys[image].items())
    vectors = {i: memory.images[k] for i, k in keys.items()}
    places = {i: _Place({name: memory.places[k] for name, k in place_keys[i].items()}, memory.masks[mask_keys[i]]) for i in masked}
    return vectors, places


def floor_answers(benchmark: BenchmarkSpec, subtasks: list[SubtaskPlan], corpora: Corpora,
                  split: Literal["tune", "gate", "report"], readers: int = 2, kept: Kept | None = None) -> pd.DataFrame:
    """What the no-learning floors answer where the answer is a class, in the same form as `answers`; the same for every model.

    A training image that is none is left out of what they learn from.

    Args:
        benchmark, subtasks, corpora, split, readers: as in `answers`.
        kept: features by `floors.key` and the image's digest, which takes in what is lacking; forgotten if None.
    """
    kept = Kept(None) if kept is None else kept
    specs = {s.id: s for s in benchmark.subtasks if isinstance(s, LabelledSubtask)}
    used = {p.id: items(specs[p.id], corpora, "train", "tune", split) for p in subtasks if not p.missing and p.id in specs}
    unique = sorted({image for frame in used.values() for image in _images(frame)})

    held = {image for frame in used.values() for image in _images(frame[frame["split"] != "train"])}

    def features(image: Image) -> dict[str, floors.F]:
        try:
            return floors.features(decode(files[image]))
        except UnreadableError:
            if image in held:
                raise
            return {}

    files = {image: corpora[image[0]].image(image[1]) for image in unique}
    with ThreadPoolExecutor(max(1, readers)) as pool:
        keys = {i: {floor: floors.key(digest, floor) for floor in floors.FLOORS}
                for i, digest in zip(unique, pool.map(Blob.sha256, files.values()), strict=True)}
        new = [i for i in unique if kept.lacking(keys[i].values())]
        for i, found in zip(new, pool.map(features, new), strict=True):
            kept.add((keys[i][floor], vector) for floor, vector in found.items())
    vectors = {i: {floor: kept[k] for floor, k in keys[i].items()} for i in unique if not kept.lacking(keys[i].values())}
    parts = []
    for name, frame in used.items():
        scored = frame[frame["split"] == split].reset_index(drop=True)
        fit = frame[frame["split"].isin({"train", "tune"} - {split}) & np.array([i in vectors for i in _images(frame)], dtype=bool)]
        asked_once = scored.drop_duplicates(ITEM)
        for floor, scores in floors.predict(fit, scored, vectors, len(specs[name].classes)).items():
            parts.append(_rows(floor, benchmark, name, asked_once.assign(scores=scores.tolist())))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _images(frame: pd.DataFrame) -> list[Image]:
    return list(zip(frame["source"].to_list(), frame["row"].to_list(), strict=True))


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
        "by": by, "subtask": subtask, "item": [pseudonym(benchmark, i) for i in found["item"].to_list()],
        "patient": [pseudonym(benchmark, p) for p in found["patient"].to_list()], "truth": found["truth"].to_numpy(dtype=np.int64),
        "scores": found["scores"].to_list(),
    })
