"""Pictures of a scoring: a heat map with boxes where the answer is a place, confusion and reliability where it is a class.

Heat maps show images of the benchmark: they stay where the images may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.special import softmax

from radisim_cl.bench import boxes
from radisim_cl.bench.items import MODEL
from radisim_cl.bench.measure import Measurement
from radisim_cl.bench.protocols import ground
from radisim_cl.bench.seen import Seen
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.data.images import decode
from radisim_cl.intervals import exact
from radisim_cl.records.evidence import Split
from radisim_cl.specs.benchmark import BenchmarkSpec, GroundSubtask, SubtaskSpec, VolumeSubtask
from radisim_cl.stats import Answers

F = npt.NDArray[np.float64]
EXAMPLES = 6
"""Images a heat map shows: from the best to the worst, evenly spaced in rank."""
BINS = 10
SHADE = "#0b5cad"


@dataclass(frozen=True)
class Place:
    """Where a model saw a structure in an image.

    Attributes:
        source, row: the image, in the corpora.
        structure: what was looked for.
        iou: overlap of the two boxes.
        image: (H, W) grey values.
        heat: (S, S) probability of the structure where it is the most probable, 0 elsewhere.
        pixel: the threshold of heat from which on a pixel is of the structure.
        truth, found: boxes of the mask and of the model, in pixels of `heat`; None where there is none.
    """

    source: str
    row: int
    structure: str
    iou: float
    image: npt.NDArray[np.float32]
    heat: F
    pixel: float
    truth: boxes.Box | None
    found: boxes.Box | None


def places(spec: GroundSubtask, seen: Seen, rows: pd.DataFrame, corpora: Corpora) -> list[Place]:
    """`EXAMPLES` images from the best to the worst, evenly spaced in rank; none where the thresholds cannot be chosen.

    Args:
        spec, seen: what the protocol was shown.
        rows: the model's answers.
        corpora: where the images are.
    """
    cut = ground.thresholds(spec, seen)
    if cut is None or not len(rows):
        return []
    ranked = rows.assign(iou=[s[0] for s in rows["scores"]]).sort_values("iou", ascending=False, kind="stable")
    chosen = ranked.iloc[np.unique(np.linspace(0, len(ranked) - 1, EXAMPLES).round().astype(int))]
    at = {item: i for i, item in enumerate(seen.frame["item"]) if seen.frame["split"].iloc[i] == seen.scored}
    out = []
    for _, answer in chosen.iterrows():
        i, structure = at[answer["item"]], int(answer["truth"])
        source, row = str(seen.frame["source"].iloc[i]), int(seen.frame["row"].iloc[i])
        _, heat = ground.maps(spec, seen.patches[i], structure, len(seen.masks[i]))
        image = decode(corpora[source].image(row)).float().mean(dim=0).numpy()
        out.append(Place(source, row, spec.structures[structure], float(answer["iou"]), image, heat, cut[0],
                         boxes.extent(seen.masks[i] == structure + 1), boxes.chosen(boxes.components(heat, cut[0]), cut[1])))
    return out


def show(axes: Axes, place: Place) -> None:
    """The image with the heat map, the box of the mask (white) and the model's (yellow, dashed)."""
    extent = (0, len(place.heat), len(place.heat), 0)
    axes.imshow(place.image, cmap="gray", extent=extent)
    axes.imshow(place.heat, cmap="magma", alpha=0.45 * (place.heat >= place.pixel), extent=extent, vmin=0, vmax=1)
    _outline(axes, place.truth, "white", "-")
    _outline(axes, place.found, "yellow", "--")
    axes.set_axis_off()


class Pictures:
    """Draws one file a subtask into a folder."""

    def __init__(self, folder: Path, benchmark: BenchmarkSpec, corpora: Corpora, notice: str) -> None:
        self.folder, self.benchmark, self.corpora, self.notice = folder, benchmark, corpora, notice

    def seen(self, spec: SubtaskSpec, seen: Seen, answers: Mapping[str, pd.DataFrame]) -> None:
        """A heat map of a subtask whose answer is a place, while its images are at hand: `<subtask>.png`."""
        if isinstance(spec, GroundSubtask) and (chosen := places(spec, seen, answers[MODEL], self.corpora)):
            self._save(_row(spec.id, chosen), f"{spec.id}.png")

    def answered(self, m: Measurement[Split]) -> None:
        """Confusion and reliability of subtasks whose answer is a class: `<subtask>.svg`."""
        for spec in self.benchmark.subtasks:
            found = m.answers.get(spec.id)
            if isinstance(found, Answers):
                figure = classes(spec, found)
                figure.suptitle(spec.id, fontsize=11)
                self._save(figure, f"{spec.id}.svg")

    def _save(self, figure: Figure, name: str) -> None:
        if self.notice:
            figure.text(0.5, 0.0, self.notice, ha="center", va="top", fontsize=7)
        self.folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.folder / name, bbox_inches="tight", dpi=110, metadata={"Date": None} if name.endswith(".svg") else None)


def _row(subtask: str, chosen: list[Place]) -> Figure:
    figure = Figure(figsize=(2.1 * len(chosen), 2.6))
    for k, place in enumerate(chosen):
        axes = figure.add_subplot(1, len(chosen), k + 1)
        show(axes, place)
        axes.set_title(f"{place.structure}\nIoU {place.iou:.2f}", fontsize=8)
    figure.suptitle(f"{subtask}: from the best to the worst; white the mask's box, dashed the model's", fontsize=9, y=1.06)
    return figure


def _outline(axes: Axes, box: boxes.Box | None, colour: str, style: str) -> None:
    if box is None:
        return
    top, left, bottom, right = box
    for width, shade in ((2.6, "black"), (1.3, colour)):  # readable on white and on black
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, linewidth=width, edgecolor=shade, linestyle=style))


def classes(spec: SubtaskSpec, found: Answers) -> Figure:
    """Confusion matrix and reliability curve of a subtask whose answer is a class."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    _confusion(figure.add_subplot(1, 2, 1), spec.labels, found)
    _reliability(figure.add_subplot(1, 2, 2), found, "share of the votes" if isinstance(spec, VolumeSubtask) else "probability")
    return figure


def _confusion(axes: Axes, labels: list[str], found: Answers) -> None:
    """Shades are shares of a row, light enough for the numbers of items to be read on light and on dark pages."""
    k = len(labels)
    counts = np.zeros((k, k))
    np.add.at(counts, (found.truth, found.answer), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for (t, a), share in np.ndenumerate(shares):
        axes.add_patch(Rectangle((a - 0.5, t - 0.5), 1, 1, facecolor=SHADE, alpha=0.6 * share, edgecolor="none"))
        axes.text(a, t, f"{counts[t, a]:.0f}", ha="center", va="center", fontsize=8 if k < 8 else 6)
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(k - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xticks(range(k), labels, rotation=45 if k > 2 else 0, ha="right" if k > 2 else "center", fontsize=8)
    axes.set_yticks(range(k), labels, fontsize=8)
    axes.set_xlabel("answered")
    axes.set_ylabel("truth")
    axes.set_title("confusion (items)", fontsize=9)


def _reliability(axes: Axes, found: Answers, what: str) -> None:
    """How often the answer is right by how sure the model is, with 95 % intervals over the patients of a bin; expected calibration error (ECE)."""
    sure = confidence(found)
    right, order = found.answer == found.truth, np.argsort(sure, kind="stable")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    parts = np.array_split(order, min(BINS, max(1, len(order) // 10)))
    shares, means = (np.array([values[part].mean() for part in parts]) for values in (right, sure))
    bounds = np.array([exact(float(share), len(np.unique(found.patients[part])), 0.025) for share, part in zip(shares, parts, strict=True)])
    spread = np.maximum(0, [shares - bounds[:, 0], bounds[:, 1] - shares])
    axes.errorbar(means, shares, yerr=spread, fmt="o", color="black", markersize=4, capsize=2, linewidth=1)
    gap = float(np.average(np.abs(shares - means), weights=[len(part) for part in parts]))
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"{what} of the answer")
    axes.set_ylabel("right")
    axes.set_title(f"reliability, ECE {gap:.2f}", fontsize=9)


def confidence(found: Answers) -> F:
    """(n,) how sure a model is of its answer: the share of the votes, or the softmax over the classes of 100 times the cosines."""
    chances = softmax(ground.LOGIT_SCALE * found.scores, axis=1) if found.votes is None else found.votes
    sure: F = chances[np.arange(len(found.answer)), found.answer]
    return sure
