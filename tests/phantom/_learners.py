"""What a histogram knows of a picture, and what a small network sees in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from radisim_cl.phantom import make
from radisim_cl.phantom.sources import SOURCES
from radisim_cl.specs.catalog import PhantomSpec

F = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
BATCH = 32
DARK = 40
"""Grey level below which a pixel is taken for outside the body."""


@dataclass(frozen=True)
class Rendered:
    """Items of a source: an image, or the slices of a study.

    Attributes:
        pixels: (items, slices, size, size) uint8.
        labels: of each item, without places.
        patients: (items,) number of the patient.
    """

    pixels: npt.NDArray[np.uint8]
    labels: list[frozenset[str]]
    patients: npt.NDArray[np.int64]

    def truth(self, *classes: str) -> Truth:
        """(items, classes) which items have which label."""
        return np.array([[c in held for c in classes] for held in self.labels])

    def features(self) -> F:
        """(items, n) statistics of each item."""
        return np.stack([statistics(item) for item in self.pixels])

    def middle(self, side: int) -> npt.NDArray[np.uint8]:
        """(items, slices, side, side) the middle of each picture."""
        edge = (self.pixels.shape[-1] - side) // 2
        return self.pixels[..., edge : edge + side, edge : edge + side]


def render(source: str, patients: int, seed: int, folder: Path, size: int = 96, volumes: bool = False) -> Rendered:
    """The items of the first patients of a source of another phantom, as `make` writes them.

    Args:
        source: name.
        patients: how many.
        seed: of that phantom.
        folder: where images are written.
        size: pixels a side of that phantom.
        volumes: whether a study is one item; if not, each image is.
    """
    spec = PhantomSpec(seed=seed, size=size)
    (folder / "images").mkdir(parents=True)
    pixels, labels, who = [], [], []
    for i in range(patients):
        rows = make.one(spec, SOURCES[source], i, folder)
        for item in [rows] if volumes else [[row] for row in rows]:
            slices = []
            for row in item:
                slices.append(np.asarray(Image.open(folder / row["image"])))
                (folder / row["image"]).unlink()
            pixels.append(np.stack(slices))
            labels.append(frozenset(part.partition("@")[0] for part in item[0]["labels"].split("|")))
            who.append(i)
    return Rendered(np.stack(pixels), labels, np.array(who))


def statistics(item: npt.NDArray[np.uint8]) -> F:
    """What is left of (slices, size, size) without positions: mean, deviation, percentiles, entropy, and how large the body is."""
    x = item.astype(np.float64) / 255
    share = np.histogram(x, bins=64, range=(0, 1))[0] / x.size
    return np.array([x.mean(), x.std(), *np.percentile(x, PERCENTILES), stats.entropy(share), float((item > DARK).mean())])


def regression(features: F, truth: Truth, patients: npt.NDArray[np.int64]) -> list[float]:
    """By class, the cross-validated AUC of a logistic regression, that class against the others.

    Args:
        features: (items, n).
        truth: (items, classes).
        patients: (items,) who is never in both parts.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    return [float(roc_auc_score(t, cross_val_predict(model, features, t, groups=patients, cv=folds, method="predict_proba")[:, 1])) for t in truth.T]


class Small(nn.Module):
    """Five convolutions; the slices of an item share them, and the one with the strongest sign decides."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 32, 48, 64, 96)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((1, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            if after != widths[-1]:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        """(items, slices, size, size) to (items, classes) logits."""
        maps = self.features(x.flatten(0, 1)[:, None].contiguous(memory_format=torch.channels_last))
        seen = torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], dim=1)
        logits: Tensor = self.head(seen.view(x.shape[0], x.shape[1], -1).amax(1))
        return logits


def network(pixels: npt.NDArray[np.uint8], truth: Truth, unseen: npt.NDArray[np.uint8], answers: Truth, side: int, epochs: int) -> list[float]:
    """By class, the AUC on pictures that a network was not trained on, one class against the rest.

    Args:
        pixels: (items, slices, size, size) of training.
        truth: (items, classes) of training.
        unseen: (items, slices, size, size) of other patients.
        answers: (items, classes) of those.
        side: pixels that pictures are brought to.
        epochs: over the training items.
    """
    torch.manual_seed(0)
    x, y, other = _prepared(pixels, side), torch.from_numpy(truth).float(), _prepared(unseen, side)
    net = Small(y.shape[1]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * (len(x) // BATCH))
    for batch in _batches(len(x), epochs):
        loss = functional.binary_cross_entropy_with_logits(net(_varied(x[batch])), y[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.inference_mode():
        scores = torch.cat([net(part) for part in torch.split(other, 64)]).numpy()
    return [float(roc_auc_score(t, s)) for t, s in zip(answers.T, scores.T, strict=True)]


def _batches(items: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.split(torch.randperm(items)[: items // BATCH * BATCH], BATCH)


def _prepared(pixels: npt.NDArray[np.uint8], side: int) -> Tensor:
    """(items, slices, side, side) with mean 0 and deviation 1 in each item."""
    x = torch.from_numpy(pixels).float()
    x = functional.interpolate(x, (side, side), mode="bilinear", antialias=True)
    return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True).clamp(min=1e-3)


def _varied(x: Tensor) -> Tensor:
    """Shifted, scaled, turned and mirrored, brighter or darker: the same for the slices of an item."""
    n = len(x)
    angle, scale = 0.12 * torch.randn(n), 1 + 0.07 * torch.randn(n)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    rows = [[mirror * scale * angle.cos(), -scale * angle.sin(), 0.06 * torch.randn(n)],
            [mirror * scale * angle.sin(), scale * angle.cos(), 0.06 * torch.randn(n)]]
    grid = functional.affine_grid(torch.stack([torch.stack(r, dim=1) for r in rows], dim=1), list(x.shape), align_corners=False)
    moved = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    wide = (n, 1, 1, 1)
    return moved * (1 + 0.15 * torch.randn(wide)) + 0.15 * torch.randn(wide)
