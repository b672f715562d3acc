"""What a layout gives, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""By the axis that they are perpendicular to: left to right, front to back, foot to head."""
F = npt.NDArray[np.float64]
Outline = tuple[float, ...]
"""The value of a mask; then column and row of the upper left corner, width and height of a box, or those of the centre and the radius of a circle; in
pixels of the file."""
Uncertain = Literal["negative", "positive", "skip"]
UNCERTAIN: tuple[Uncertain, ...] = ("negative", "positive", "skip")


@dataclass(frozen=True)
class About:
    """What is known of a set before it is read; what a card says of it.

    Attributes:
        title: of the set; empty where a layout is nobody's.
        url: where it is to be had.
        licence: of its images, where a table says none.
        agreement: the data-use agreement under which it is to be had; empty where there is none.
        structures: by pixel value of the masks, the structure.
        splits: by the set's own split, the shares in which a catalog cuts it; empty: as the catalog does by itself.
        values: by column, the set's values to those that the benchmark asks for, where it knows fewer.
        legend: reads `structures` in the folder of a set that says there what its masks show.
    """

    title: str = ""
    url: str = ""
    licence: str = ""
    agreement: str = ""
    structures: Mapping[int, str] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    legend: Callable[[Path], Mapping[int, str]] | None = None

    def within(self, folder: Path) -> About:
        """With what the folder itself says."""
        return replace(self, structures=self.legend(folder)) if self.legend else self


TRAIN = {"*": {"train": 1.0}}
"""Splits of a training source."""
OFFICIAL = {"train": {"train": 1.0}, "val": {"tune": 0.3, "gate": 0.7}, "test": {"report": 1.0}}
"""Splits of a benchmark set that has its own."""
TESTED = {"train": {"train": 0.6, "tune": 0.1, "gate": 0.3}, "test": {"report": 1.0}}
"""Splits of one that has no validation split."""
HELD = {"*": {"train": 0.1, "tune": 0.1, "gate": 0.2, "report": 0.6}}
"""Splits of one that has no test split with labels."""


@dataclass(frozen=True)
class Settings:
    """How pictures are made.

    Attributes:
        slices: pictures of a volume, spread evenly over it.
        size: pixels of the longest side.
        plane: in which a volume that is stored whole is cut; series are taken as they were acquired.
        window: `auto`, or `centre/width` in the units of the image (CT: Hounsfield units).
        gigabytes: a file that declares more is not read.
        uncertain: what a finding is whose label says "uncertain": not named, named, or a reason to leave the picture out.
    """

    slices: int = 7
    size: int = 256
    plane: Plane = "axial"
    window: str = "auto"
    gigabytes: float = 4.0
    uncertain: Uncertain = "negative"


@dataclass(frozen=True)
class Record:
    """What belongs together: an image, or the slices of a volume.

    Attributes:
        key: names it, never the same for two; a secret of the site until it is hashed.
        patient: native id; likewise.
        files: in order.
        facts: columns of the manifest that are known beforehand.
        masks: label maps: one of each file, in order, or one of the whole of it.
        study: native id, where several records make a study; empty: the record is one.
        at: where in the file, if it is not all of it: offset and length in a tar, or the index in an array.
        slices: labels of each slice of a volume, in the order in which they are stored; empty where they are not known one by one.
        outlines: what a mask shows, where that is all that is known of it; of one file.
        unusable: why it cannot be used, if that is known already; counts against the budget.
        unwanted: why nobody wants it, such as a picture that is no radiology; counted, and against no budget.
    """

    key: str
    patient: str
    files: tuple[Path, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    masks: tuple[Path, ...] = ()
    study: str = ""
    at: tuple[int, ...] = ()
    slices: tuple[str, ...] = ()
    outlines: tuple[Outline, ...] = ()
    unusable: str = ""
    unwanted: str = ""


@dataclass(frozen=True)
class Picture:
    """One image of a corpus.

    Attributes:
        pixels: (h, w) uint8, as a radiologist looks at it: the patient's right at the left, front or head on top.
        mask: (h, w) uint8 label map, or None.
        plane: empty for radiographs.
        facts: columns of the manifest that the file itself tells, such as `modality`; what a table says goes before them.
        window: how grey values were made of what was measured, in words.
        at: of a slice, its place in the volume, from the foot, the back or the left on; of the files of a series likewise.
        text: whether the file itself declares that text is burned into its pixels.
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8] | None
    plane: str
    facts: Mapping[str, str]
    window: str
    at: int = 0
    text: bool = False


class UnusableError(Exception):
    """A record that cannot be read, in words that name no file and no patient; it is left out and counted."""


class UnwantedError(Exception):
    """A record that nobody wants, as is seen when it is read; it is counted, and against no budget."""


def spread(depth: int, wanted: int) -> list[int]:
    """Positions of at most `wanted` slices, spread evenly over `depth`: the middles of as many equal parts."""
    n = min(depth, wanted)
    return [int((k + 0.5) / n * depth) for k in range(n)]
