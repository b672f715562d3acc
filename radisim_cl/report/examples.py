"""Images of the benchmark with what the model made of them, as data URIs. What this module returns shows images: it stays where they may be."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from radisim_cl.bench import evaluate, pictures
from radisim_cl.bench.items import MODEL
from radisim_cl.bench.kept import Memory
from radisim_cl.bench.seen import Seen
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.images import decode
from radisim_cl.errors import RadisimError
from radisim_cl.models.build import build
from radisim_cl.models.embedder import Embedder
from radisim_cl.models.precision import autocast
from radisim_cl.report.story import Story
from radisim_cl.runs.benching import subject
from radisim_cl.specs.benchmark import BenchmarkSpec, ClassifySubtask, GroundSubtask, OrdinalSubtask, RetrieveSubtask, SubtaskSpec

PLACE_PX, THUMB_PX = 208, 116
"""Longest sides of the pictures on the page."""
QUERIES, TOP = 2, 5
"""Queries that are shown of a subtask, and images of each."""
BUDGET = 3 * 2**20
"""Bytes of pictures, as they stand in the page."""


@dataclass(frozen=True)
class Tile:
    """A picture.

    Attributes:
        uri: its bytes, as a `data:` URI.
        alt: what it shows, for those who cannot see it.
        told: what stands below it.
        right: whether the model was right; None where that is a matter of degree.
    """

    uri: str
    alt: str
    told: str
    right: bool | None = None


@dataclass(frozen=True)
class Strip:
    """Pictures in a row.

    Attributes:
        subtask: whose.
        title: what was asked.
        told: what to look for.
        tiles: the pictures, best first.
    """

    subtask: str
    title: str
    told: str
    tiles: list[Tile]


@dataclass
class Examples:
    """What is shown of a run's newest exported model.

    Attributes:
        places, found: heat maps; images that a text finds.
        split: of which split.
        stage: the last one that the model has been through.
        licences: by corpus, those of the pictures that are shown.
        left_out: strips that would have made the page too large.
        why: why there is nothing to show; empty where there is.
    """

    places: list[Strip] = field(default_factory=list)
    found: list[Strip] = field(default_factory=list)
    split: Literal["gate", "report"] = "report"
    stage: str = ""
    licences: dict[str, set[str]] = field(default_factory=dict)
    left_out: int = 0
    why: str = ""

    @property
    def size(self) -> int:
        """Bytes of all pictures."""
        return sum(len(t.uri) for s in (*self.places, *self.found) for t in s.tiles)


def examples(story: Story) -> Examples:
    """Heat maps of subtasks whose answer is a place, and of one other subtask a suite the images that texts find.

    The newest exported model is asked, on the report split of a run that has finished and on the gate split of another one.
    """
    if not story.state.accepted:
        return Examples(why="no stage is accepted yet, so there is no exported model to ask")
    plan = story.plan
    corpora = Corpora(plan.catalog, plan.benchmark.version)
    out = Examples(split="report" if story.final else "gate", stage=list(story.state.accepted)[-1])
    chosen = _chosen(plan.benchmark)
    asked = [p for p in plan.subtasks if p.id in chosen and not p.missing]
    try:
        for source in {part.source for s in plan.benchmark.subtasks if s.id in {p.id for p in asked} for part in s.items}:
            corpora[source]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        who = subject(str(story.run))
        embedder = Embedder(build(who.spec, 0), device, autocast(who.precision, device))
    except (RadisimError, OSError) as e:
        return Examples(why=f"the model or the data cannot be read here: {e}")
    memory = Memory.of(embedder.digest())
    try:
        evaluate.answers(embedder, plan.benchmark, asked, corpora, out.split, plan.curriculum.scale.readers, memory=memory,
                         show=_Collector(out, corpora))
    except (RadisimError, OSError):  # whose words may hold the path of an image, and that a patient's name
        return Examples(why=f"an image or a mask cannot be read here; `radisim-cl bench {story.run.name}` says which")
    memory.save()
    if not out.places and not out.found:
        out.why = f"no subtask of {plan.benchmark.name} that pictures are shown of has images in this split"
    return out


def _chosen(benchmark: BenchmarkSpec) -> set[str]:
    """Subtasks that pictures are shown of: all that ask for places or captions, and the first other one of each suite."""
    out = {s.id for s in benchmark.subtasks if isinstance(s, GroundSubtask | RetrieveSubtask)}
    for subtasks in benchmark.suites.values():
        out |= {s.id for s in [s for s in subtasks if isinstance(s, ClassifySubtask | OrdinalSubtask)][:1]}
    return out


class _Collector:
    """Is called by `evaluate.answers` for each subtask, and keeps what is shown of it."""

    def __init__(self, out: Examples, corpora: Corpora) -> None:
        self.out, self.corpora = out, corpora

    def __call__(self, spec: SubtaskSpec, seen: Seen, answers: Mapping[str, pd.DataFrame]) -> None:
        if isinstance(spec, GroundSubtask):
            shown = pictures.places(spec, seen, answers[MODEL], self.corpora)
            self._keep(self.out.places, _places(spec, shown), [(p.source, p.row) for p in shown])
        elif isinstance(spec, RetrieveSubtask) and len(seen.frame):
            for caption, order, ranks in _captions(seen):
                rank = f"its own image is found at rank {ranks.min()} of {len(seen.frame)}"
                self._found(spec, seen, order, f"“{caption}”", rank, np.isin(order, np.flatnonzero(seen.frame["caption"] == caption)),
                            ["" for _ in order])
        elif isinstance(spec, ClassifySubtask | OrdinalSubtask) and len(seen.frame):
            truth = seen.frame["truth"].to_numpy()
            for k in [int(i) for i in np.unique(np.linspace(0, len(spec.labels) - 1, QUERIES).round())]:
                order = np.argsort(-seen.cosines[:, k], kind="stable")[:TOP]
                share = float((truth == k).mean())
                self._found(spec, seen, order, f"“{spec.prompts()[spec.labels[k]][0]}”", f"{share:.0%} of the {len(truth)} images are of this class",
                            truth[order] == k, [spec.labels[int(t)] for t in truth[order]])

    def _found(self, spec: SubtaskSpec, seen: Seen, order: npt.NDArray[np.int64], query: str, told: str, right: npt.NDArray[np.bool_],
               names: list[str]) -> None:
        images = [(str(seen.frame["source"].iloc[i]), int(seen.frame["row"].iloc[i])) for i in order]
        tiles = []
        for rank, (image, ok, name) in enumerate(zip(images, right, names, strict=True), 1):
            what = name or ("the caption's own image" if ok else "of another caption")
            tiles.append(Tile(_thumb(decode(self.corpora[image[0]].image(image[1])).numpy()), f"Rank {rank} for {query}: {what}", f"{rank}. {what}",
                              bool(ok)))
        self._keep(self.out.found, Strip(spec.id, query, told, tiles), images)

    def _keep(self, into: list[Strip], strip: Strip, images: list[tuple[str, int]]) -> None:
        if not strip.tiles:
            return
        if self.out.size + sum(len(t.uri) for t in strip.tiles) > BUDGET:
            self.out.left_out += 1
            return
        into.append(strip)
        for source, row in images:
            self.out.licences.setdefault(source, set()).add(self.corpora[source].record(row)["licence"] or "not stated")


def _captions(seen: Seen) -> list[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Captions whose own image is found best, and in the middle: each with its first images, and the ranks of its own."""
    captions = seen.frame["caption"].unique().tolist()
    every = np.argsort(-seen.cosines, axis=0, kind="stable")
    place = np.argsort(every, axis=0) + 1
    ranks = [place[(seen.frame["caption"] == c).to_numpy(), k] for k, c in enumerate(captions)]
    best = np.argsort([r.min() for r in ranks], kind="stable")
    chosen = dict.fromkeys(int(best[int(i)]) for i in np.linspace(0, (len(best) - 1) / 2, QUERIES))
    return [(captions[k], every[:TOP, k], ranks[k]) for k in chosen]


def _places(spec: GroundSubtask, shown: list[pictures.Place]) -> Strip:
    tiles = []
    for place in shown:
        figure = Figure(figsize=(PLACE_PX / 100, PLACE_PX / 100), facecolor="black")
        pictures.show(figure.add_axes((0, 0, 1, 1)), place)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        buffer.seek(0)
        found = f"the model's box overlaps with the mask's by {place.iou:.2f}" if place.found else "the model draws no box"
        tiles.append(Tile(_jpeg(Image.open(buffer).convert("RGB"), 88), f"An image with a mask of {place.structure}: {found}",
                          f"{place.structure}, IoU {place.iou:.2f}"))
    return Strip(spec.id, spec.id, "", tiles)


def _thumb(pixels: npt.NDArray[np.uint8]) -> str:
    """A (1 or 3, H, W) image, small."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    image.thumbnail((THUMB_PX, THUMB_PX))
    return _jpeg(image, 82)


def _jpeg(image: Image.Image, quality: int) -> str:
    """A data URI; of the pixels alone, whatever the file said beside them."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
