"""What a stand-in is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from radisim_cl.phantom.exams import Exam, Modality, Picture, body, take
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.sections import PLANES, Plane

STRUCTURES: dict[int, str] = dict(enumerate(
    ("body", "liver", "spleen", "left kidney", "right kidney", "stomach", "pancreas", "aorta", "vena cava", "bladder", "lungs", "bones", "heart",
     "gallbladder", "glioma", "meningioma", "pituitary tumour", "intracranial haemorrhage", "pneumonia", "COVID-19 pneumonia",
     "enlarged lymph nodes", "ACL tear", "meniscal tear"), start=1))
"""The masks' pixel values and what they mean; `body` is what is inside the patient and none of the others."""
_PARTS = {
    "lungs": ("left lung", "right lung", "granulomas"),
    "bones": ("ribs", "sternum", "clavicles", "scapulae", "spine", "pelvic bones", "iliac bones", "sacrum", "left femur", "right femur"),
    "intracranial haemorrhage": ("haemorrhage",),
}
CODES: dict[str, int] = {part: code for code, name in STRUCTURES.items() for part in _PARTS.get(name, (name,))}
"""Pixel value by the name of an anatomical structure."""


@dataclass(frozen=True)
class Shot:
    """A picture with what a corpus says of it.

    Attributes:
        picture: the image.
        study: number of the patient's study, so that the slices of a volume share one.
        labels: as in a manifest: `name[@place]`, joined by `|`.
        caption: the corpus's own, "" where it has none.
        level: which stage's question the caption answers.
        masked: whether the corpus has its mask.
    """

    picture: Picture
    study: int
    labels: str = ""
    caption: str = ""
    level: str = ""
    masked: bool = False


Make = Callable[[Patient, np.random.Generator, int], Iterator[Shot]]
"""A patient, random numbers of this patient in this source, and pixels a side, to the patient's pictures."""


@dataclass(frozen=True)
class Source:
    """A stand-in.

    Attributes:
        name: as in catalogs.
        stands_for: the real collection.
        patients: how many.
        make: what one patient contributes.
        columns: the manifest columns that the real source has; no other is offered.
        size: pixels a side; None for the phantom's own.
        sex: where only one is examined.
        prefix: of the patients' names; sources with one prefix share patients.
        noise: (share of wrong captions, share of missing ones) as a multiple of the phantom's setting.
    """

    name: str
    stands_for: str
    patients: int
    make: Make
    columns: tuple[str, ...]
    size: int | None = None
    sex: Literal["F", "M"] | None = None
    prefix: str = ""
    noise: float = 1.0


def draw(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """A key, with a probability in proportion to its weight."""
    p = np.asarray(list(weights.values()), dtype=float)
    return list(weights)[int(np.searchsorted(np.cumsum(p / p.sum()), rng.random()))]


def plane(rng: np.random.Generator, among: Sequence[Plane] = PLANES) -> Plane:
    """One of the planes."""
    return among[int(rng.integers(len(among)))]


MEETS = 12
"""How often a section is tried again until it shows the finding, or misses it, as asked."""


def meeting(exam: Exam, patient: Patient, rng: np.random.Generator, size: int, shows: bool = True) -> Picture:
    """A picture in which the exam's findings can be seen (or, with `shows` false, cannot); the last try where none does."""
    for _ in range(MEETS):
        picture = take(exam, patient, rng, size)
        if bool(picture.lesions) == (shows and bool(exam.findings)):
            break
    return picture


def spared(exam: Exam, patient: Patient, rng: np.random.Generator, size: int) -> Picture:
    """The same exam of a patient without its finding, at the height at which it would be: technique, plane and height give nothing away."""
    level = body(patient, exam.region, exam.findings).lesions[0] if exam.modality != "DR" else None
    return take(replace(exam, findings=(), focus=""), patient, rng, size, level)


def graded(rng: np.random.Generator, shares: tuple[float, float, float] = (0.42, 0.33, 0.25)) -> str:
    """A meningioma of some grade, with a probability in proportion to its share."""
    return draw(rng, {f"meningioma grade {grade}": share for grade, share in enumerate(shares, start=1)})


def modality(name: str) -> Modality:
    """A modality from its name."""
    assert name in ("CT", "MR", "DR")
    return name  # type: ignore[return-value]  # narrowed by the assertion
