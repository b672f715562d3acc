"""What can be had without learning to see: logistic regression on pixel statistics, and on a thumbnail.

Fitted on the subtask's `train` and `tune` items and scored on the same items as the model. A model that does not beat them has
learned less than a histogram knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage, stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from radisim_cl.bench.items import ITEM
from radisim_cl.files import sha256

F = npt.NDArray[np.float64]
_PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


FLOORS = ("pixel_statistics", "thumbnail")


def features(image: Tensor) -> dict[str, F]:
    """By floor, the features of a (C, H, W) uint8 image: 20 pixel statistics, and 64 values of an 8 x 8 thumbnail."""
    grey = image.float().mean(dim=0)
    return {"pixel_statistics": _statistics(grey.numpy().astype(np.float64) / 255),
            "thumbnail": tv.resize(grey[None], [8, 8], antialias=True).numpy().astype(np.float64).ravel() / 255}


@cache
def _code() -> str:
    return sha256(Path(__file__))[:16]


def key(digest: str, floor: str) -> str:
    """What an image's features are kept by: its digest, and this file's, since other features are other numbers."""
    return f"{digest}-{floor}-{_code()}"


def _statistics(x: F) -> F:
    share = np.histogram(x, bins=64, range=(0, 1))[0] / x.size
    gradient = np.hypot(ndimage.sobel(x, 0), ndimage.sobel(x, 1))
    spread = x.std() if np.ptp(x) else 0.0  # rounding leaves a constant image a spread that moments divide by
    return np.array([
        x.mean(), spread, *np.percentile(x, _PERCENTILES), stats.entropy(share), float((x < 0.02).mean()), float((x > 0.98).mean()),
        stats.skew(x, axis=None) if spread else 0.0, stats.kurtosis(x, axis=None) if spread else 0.0,
        gradient.mean(), gradient.std(), x.shape[0] / x.shape[1], float(np.log(x.size)),
    ])


def _by_item(frame: pd.DataFrame, vectors: list[F]) -> F:
    """(items, features) means over the rows of each item, in the order of their first rows."""
    item = frame.groupby(ITEM, sort=False).ngroup().to_numpy()
    rows = np.bincount(item)[:, None]
    sums = np.zeros((len(rows), len(vectors[0])))
    np.add.at(sums, item, np.stack(vectors))
    means: F = sums / rows
    return means


def predict(fit: pd.DataFrame, score: pd.DataFrame, vectors: Mapping[tuple[str, int], Mapping[str, F]], classes: int) -> dict[str, F]:
    """By floor, (n, K) probabilities of the scored items; a floor is absent where a class has no item to fit on.

    Args:
        fit, score: frames with `source`, `row`, `item` and, for `fit`, `truth`; an item of several rows has their mean features.
        vectors: `features` of each (source, row).
        classes: K.
    """
    truth = fit.drop_duplicates(ITEM)["truth"].to_numpy()
    if len(np.unique(truth)) < classes or not len(score):
        return {}
    out = {}
    for floor in FLOORS:
        x, y = (_by_item(f, [vectors[s, r][floor] for s, r in zip(f["source"], f["row"], strict=True)]) for f in (fit, score))
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
        out[floor] = model.fit(x, truth).predict_proba(y)
    return out
