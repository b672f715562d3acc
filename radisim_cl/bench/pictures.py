"""Pictures of a scoring: a heat map with boxes where the answer is a place, confusion and reliability where it is a class.

Heat maps show images of the benchmark: they stay where the images may be.
"""

from __future__ import annotations

from collections.abc import Mapping
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


class Pictures:
    """Draws one file a subtask into a folder."""

    def __init__(self, folder: Path, benchmark: BenchmarkSpec, corpora: Corpora, notice: str) -> None:
        self.folder, self.benchmark, self.corpora, self.notice = folder, benchmark, corpora, notice

    def seen(self, spec: SubtaskSpec, seen: Seen, answers: Mapping[str, pd.DataFrame]) -> None:
        """A heat map of a subtask whose answer is a place, while its images are at hand: `<subtask>.png`."""
        if isinstance(spec, GroundSubtask) and (cut := ground.thresholds(spec, seen)) and len(answers[MODEL]):
            self._save(self._places(spec, seen, answers[MODEL], cut), f"{spec.id}.png")

    def answered(self, m: Measurement[Split]) -> None:
        """Confusion and reliability of subtasks whose answer is a class: `<subtask>.svg`."""
        for spec in self.benchmark.subtasks:
            found = m.answers.get(spec.id)
            if isinstance(found, Answers):
                self._save(_classes(spec, found), f"{spec.id}.svg")

    def _save(self, figure: Figure, name: str) -> None:
        if self.notice:
            figure.text(0.5, 0.0, self.notice, ha="center", va="top", fontsize=7)
        self.folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.folder / name, bbox_inches="tight", dpi=110, metadata={"Date": None} if name.endswith(".svg") else None)

    def _places(self, spec: GroundSubtask, seen: Seen, rows: pd.DataFrame, cut: tuple[float, float]) -> Figure:
        ranked = rows.assign(iou=[s[0] for s in rows["scores"]]).sort_values("iou", ascending=False, kind="stable")
        chosen = ranked.iloc[np.unique(np.linspace(0, len(ranked) - 1, EXAMPLES).round().astype(int))]
        at = {item: i for i, item in enumerate(seen.frame["item"]) if seen.frame["split"].iloc[i] == seen.scored}
        figure = Figure(figsize=(2.1 * len(chosen), 2.6))
        for k, (_, row) in enumerate(chosen.iterrows()):
            i, structure = at[row["item"]], int(row["truth"])
            mask = seen.masks[i] == structure + 1
            _, heat = ground.maps(spec, seen.patches[i], structure, len(mask))
            axes = figure.add_subplot(1, len(chosen), k + 1)
            image = decode(self.corpora[seen.frame["source"].iloc[i]].image(int(seen.frame["row"].iloc[i]))).float().mean(dim=0).numpy()
            extent = (0, len(mask), len(mask), 0)
            axes.imshow(image, cmap="gray", extent=extent)
            axes.imshow(heat, cmap="magma", alpha=0.45 * (heat >= cut[0]), extent=extent, vmin=0, vmax=1)
            _outline(axes, boxes.extent(mask), "white", "-")
            _outline(axes, boxes.chosen(boxes.components(heat, cut[0]), cut[1]), "yellow", "--")
            axes.set_title(f"{spec.structures[structure]}\nIoU {row['iou']:.2f}", fontsize=8)
            axes.set_axis_off()
        figure.suptitle(f"{spec.id}: from the best to the worst; white the mask's box, dashed the model's", fontsize=9, y=1.06)
        return figure


def _outline(axes: Axes, box: boxes.Box | None, colour: str, style: str) -> None:
    if box is None:
        return
    top, left, bottom, right = box
    for width, shade in ((2.6, "black"), (1.3, colour)):  # readable on white and on black
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, linewidth=width, edgecolor=shade, linestyle=style))


def _classes(spec: SubtaskSpec, found: Answers) -> Figure:
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    _confusion(figure.add_subplot(1, 2, 1), spec.labels, found)
    _reliability(figure.add_subplot(1, 2, 2), found, "share of the votes" if isinstance(spec, VolumeSubtask) else "probability")
    figure.suptitle(spec.id, fontsize=11)
    return figure


def _confusion(axes: Axes, labels: list[str], found: Answers) -> None:
    k = len(labels)
    counts = np.zeros((k, k))
    np.add.at(counts, (found.truth, found.answer), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (t, a), share in np.ndenumerate(shares):
        axes.text(a, t, f"{counts[t, a]:.0f}", ha="center", va="center", fontsize=8 if k < 8 else 6, color="white" if share > 0.6 else "black")
    axes.set_xticks(range(k), labels, rotation=45 if k > 2 else 0, ha="right" if k > 2 else "center", fontsize=8)
    axes.set_yticks(range(k), labels, fontsize=8)
    axes.set_xlabel("answered")
    axes.set_ylabel("truth")
    axes.set_title("confusion (items)", fontsize=9)


def _reliability(axes: Axes, found: Answers, what: str) -> None:
    """How often the answer is right by how sure the model is, with 95 % intervals over the patients of a bin."""
    sure = confidence(found)
    right, order = found.answer == found.truth, np.argsort(sure, kind="stable")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    gap = 0.0
    for part in np.array_split(order, min(BINS, max(1, len(order) // 10))):
        share, x = float(right[part].mean()), float(sure[part].mean())
        low, high = exact(share, len(np.unique(found.patients[part])), 0.025)
        spread = [[share - min(low, share)], [max(high, share) - share]]
        axes.errorbar([x], [share], yerr=spread, fmt="o", color="black", markersize=4, capsize=2, linewidth=1)
        gap += abs(share - x) * len(part) / len(order)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"{what} of the answer")
    axes.set_ylabel("right")
    axes.set_title(f"reliability: expected calibration error {gap:.2f}", fontsize=9)


def confidence(found: Answers) -> F:
    """(n,) how sure a model is of its answer: the share of the votes, or the softmax over the classes of 100 times the cosines."""
    chances = softmax(ground.LOGIT_SCALE * found.scores, axis=1) if found.votes is None else found.votes
    sure: F = chances[np.arange(len(found.answer)), found.answer]
    return sure
