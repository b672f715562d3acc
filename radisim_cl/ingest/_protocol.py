"""What a layout gives, and what it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""By the axis that they are perpendicular to: left to right, front to back, foot to head."""
F = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """How pictures are made.

    Attributes:
        slices: pictures of a volume, spread evenly over it.
        size: pixels of the longest side.
        plane: in which a volume that is stored whole is cut; series are taken as they were acquired.
        window: `auto`, or `centre/width` in the units of the image (CT: Hounsfield units).
        gigabytes: a file that declares more is not read.
    """

    slices: int = 7
    size: int = 256
    plane: Plane = "axial"
    window: str = "auto"
    gigabytes: float = 4.0


@dataclass(frozen=True)
class Record:
    """What belongs together: an image, or the slices of a volume.

    Attributes:
        key: names it, never the same for two; a secret of the site until it is hashed.
        patient: native id; likewise.
        files: in order.
        facts: columns of the manifest that are known beforehand.
        mask: a label map of the whole of it, or None.
    """

    key: str
    patient: str
    files: tuple[Path, ...]
    facts: Mapping[str, str]
    mask: Path | None = None


@dataclass(frozen=True)
class Picture:
    """One image of a corpus.

    Attributes:
        pixels: (h, w) uint8, as a radiologist looks at it: the patient's right at the left, front or head on top.
        mask: (h, w) uint8 label map, or None.
        plane: empty for radiographs.
        facts: columns of the manifest that the file itself tells, such as `modality`; what a table says goes before them.
        window: how grey values were made of what was measured, in words.
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8] | None
    plane: str
    facts: Mapping[str, str]
    window: str


class UnusableError(Exception):
    """A record that cannot be read, in words that name no file and no patient; it is left out and counted."""


def spread(depth: int, wanted: int) -> list[int]:
    """Positions of at most `wanted` slices, spread evenly over `depth`: the middles of as many equal parts."""
    n = min(depth, wanted)
    return [int((k + 0.5) / n * depth) for k in range(n)]
