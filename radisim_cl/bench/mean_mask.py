"""The best answer to where a structure is that can be given without looking: where it mostly is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from radisim_cl.bench.boxes import B, Box, dice, extent, iou

LEVELS = np.arange(1, 20) / 20
"""Parts of the mean mask's highest value at which it is cut."""


class MeanMask(NamedTuple):
    """The mean of a structure's masks, cut at the level that is best for each metric on those masks.

    Attributes:
        iou, recall: boxes for the mean overlap and for how often it is at least half.
        dice: (S, S) pixels.
        peak: row and column of the mean's first highest pixel.
    """

    iou: Box | None
    recall: Box | None
    dice: B
    peak: tuple[int, int]

    def reaches(self, mask: B) -> tuple[float, float, float, float]:
        """Box overlap, whether boxes overlap by half, Dice and pointing on an (S, S) mask."""
        truth = extent(mask)
        return iou(self.iou, truth), float(iou(self.recall, truth) >= 0.5), dice(self.dice, mask), float(mask[self.peak])


def mean_mask(masks: npt.NDArray[np.bool_]) -> MeanMask:
    """From (n, S, S) masks of one structure, one at least, none of them empty."""
    mean = masks.mean(axis=0)
    regions = mean >= (LEVELS * mean.max())[:, None, None]
    boxes, truths = [extent(r) for r in regions], [extent(m) for m in masks]
    ious = np.array([[iou(box, truth) for box in boxes] for truth in truths])
    flat = regions.reshape(len(regions), -1).astype(np.float32)
    overlaps = np.mean([2 * (flat @ m.ravel().astype(np.float32)) / (flat.sum(axis=1) + m.sum()) for m in masks], axis=0)
    row, column = np.unravel_index(mean.argmax(), mean.shape)
    return MeanMask(boxes[ious.mean(axis=0).argmax()], boxes[(ious >= 0.5).mean(axis=0).argmax()], regions[overlaps.argmax()],
                    (int(row), int(column)))
