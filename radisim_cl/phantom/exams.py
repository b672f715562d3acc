"""Examinations: a patient's region in a modality, one or several pictures of it, displayed as collections have them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from radisim_cl.phantom import ct, dr, mr
from radisim_cl.phantom.body import Body, Lesion
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.sections import NORMAL, Plane, Sampled, Section
from radisim_cl.phantom.shapes import A, Point

Modality = Literal["CT", "MR", "DR"]
REGIONS = {"head": "head", "chest": "chest", "abdomen": "abdomen", "pelvis": "pelvis", "knee": "knee", "breast": "breast",
           "lumbar spine": "lumbar_spine"}
"""Region to its file in `anatomy/`."""
VISIBLE = 0.001
"""A finding is in a picture if it fills this share of it."""
AIR_PATH, USUAL_PATH = 0.15, 3.5
"""Line integrals: below the first there is no patient; above the second, about a frontal chest's, automatic exposure makes up for what is lost."""
SLAB, SLAB_SECTIONS = 36.0, 6
"""Angiograms are maximum intensity projections of a slab: its thickness in mm, and how many sections it is made of."""


@dataclass(frozen=True)
class Exam:
    """What is examined and how.

    Attributes:
        region: a key of REGIONS.
        modality: CT, MR or DR.
        technique: window of a CT, sequence of an MR, `radiograph` for DR.
        plane: axial, sagittal or coronal; of a radiograph, coronal is frontal and sagittal lateral.
        findings: what the patient has.
        focus: a structure or finding that the picture must go through; "" for anywhere in the region.
        crop: side of the picture relative to the box around the focus; None shows the whole region, at the level of the focus.
        loose: how much smaller than usual the field may be, as a share of its side, 0 to 0.5, and twice how much further its middle may lie off.
    """

    region: str
    modality: Modality
    technique: str
    plane: Plane
    findings: tuple[str, ...] = ()
    focus: str = ""
    crop: float | None = None
    loose: float = 0.0


@dataclass(frozen=True)
class Picture:
    """One image and what is true of it.

    Attributes:
        exam: what was asked.
        pixels: (size, size) uint8.
        body: what it shows.
        shares: part of the picture that each structure fills, 0 to 1; empty for radiographs, where structures overlap.
        lesions: findings that can be seen in it.
        cut: the section; None for radiographs and slabs.
    """

    exam: Exam
    pixels: npt.NDArray[np.uint8]
    body: Body
    shares: dict[str, float] = field(default_factory=dict)
    lesions: tuple[Lesion, ...] = ()
    cut: Sampled | None = None


@lru_cache(maxsize=64)
def body(patient: Patient, region: str, findings: tuple[str, ...]) -> Body:
    """The region of a patient with findings; the last few are kept, because a study cuts one body many times."""
    made: Body = import_module(f"radisim_cl.phantom.anatomy.{REGIONS[region]}").build(patient, findings)
    return made


def take(exam: Exam, patient: Patient, rng: np.random.Generator, size: int, level: Lesion | None = None) -> Picture:
    """One picture.

    Args:
        exam: what and how.
        patient: whose.
        rng: of this picture: position, pose, noise, display.
        size: pixels a side.
        level: a finding at whose height to cut although this patient does not have it, so that height gives nothing away.
    """
    shown = body(patient, exam.region, exam.findings)
    centre, width = _place(shown, exam, rng, level)
    if exam.modality == "DR":
        return _radiograph(shown, exam, patient, centre, width, rng, size)
    return _tomogram(shown, exam, patient, Section(exam.plane, centre, width, _turn(rng), size), rng)


def volume(exam: Exam, patient: Patient, rng: np.random.Generator, size: int, slices: int = 7, span: float = 0.6) -> list[Picture]:
    """Slices spread evenly over the middle part of the region, in one pose.

    Args:
        exam: what and how.
        patient: whose.
        rng: of this volume.
        size: pixels a side.
        slices: how many.
        span: the part of the field that they spread over.
    """
    shown = body(patient, exam.region, exam.findings)
    centre, width = _place(shown, exam, rng)
    low, high = (np.asarray(corner) for corner in shown.field)
    axis, turn, out = NORMAL[exam.plane], _turn(rng), []
    for t in np.linspace(0.5 - span / 2, 0.5 + span / 2, slices):
        at = list(centre)
        at[axis] = float(low[axis] + t * (high[axis] - low[axis]))
        out.append(_tomogram(shown, exam, patient, Section(exam.plane, (at[0], at[1], at[2]), width, turn, size), rng))
    return out


def _turn(rng: np.random.Generator) -> Point:
    a = rng.normal(0, 3, 3)
    return float(a[0]), float(a[1]), float(a[2])


def _place(shown: Body, exam: Exam, rng: np.random.Generator, level: Lesion | None = None) -> tuple[Point, float]:
    """Middle and side of the picture, mm."""
    low, high = (np.asarray(corner, dtype=float) for corner in shown.field)
    axis = NORMAL[exam.plane]
    across = [a for a in range(3) if a != axis]
    at, width = (low + high) / 2, float(max((high - low)[across]))
    at[axis] = low[axis] + rng.uniform(0.2, 0.8) * (high[axis] - low[axis])
    if exam.focus or level:
        centre, extent = (np.asarray(level.centre), np.asarray(level.extent)) if level else _focus(shown, exam.focus)
        at[axis] = centre[axis] + rng.uniform(-0.45, 0.45) * extent[axis]
        if exam.crop is not None:
            at[across], width = centre[across], 2 * float(max(extent[across])) * exam.crop
    width *= float(rng.uniform(0.93 - exam.loose, 1.12))
    at[across] += rng.uniform(-1, 1, 2) * (0.05 + exam.loose / 2) * width
    return (float(at[0]), float(at[1]), float(at[2])), width


def _focus(shown: Body, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    for lesion in shown.lesions:
        if lesion.finding == name:
            return np.asarray(lesion.centre, dtype=float), np.asarray(lesion.extent, dtype=float)
    boxes = [p.shape.box for p in shown.parts if p.structure == name]
    if not boxes:
        raise KeyError(f"no {name!r} in this {shown.region}; it has {', '.join(shown.structures)}")
    low, high = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
    return (low + high) / 2, (high - low) / 2


def _tomogram(shown: Body, exam: Exam, patient: Patient, section: Section, rng: np.random.Generator) -> Picture:
    cut = section.cut(shown)
    if exam.modality == "CT":
        window = ct.WINDOWS[exam.technique]
        window = ct.Window(window.level + float(rng.normal(0, 0.06)) * window.width, window.width * float(rng.uniform(0.8, 1.3)))
        sigma = ct.noise(float(rng.uniform(0.5, 2.5)), 5.0, 300 * patient.size * (0.9 + 0.1 * patient.fat) if exam.region != "head" else 180)
        grey = window(ct.scan(cut, sigma, rng))
    else:
        sequence = mr.SEQUENCES[exam.technique]
        if exam.region == "breast" and sequence.contrast:  # fat would be as bright as what enhances
            sequence = replace(sequence, fat_suppressed=True)
        sigma, strength = float(rng.uniform(0.01, 0.035)), float(rng.uniform(0, 0.4))
        scanned = mr.scan(cut, sequence, sigma, strength, rng)
        if sequence.kind == "inflow":
            scanned = np.maximum.reduce([scanned, *(mr.scan(s.cut(shown), sequence, sigma, strength, rng) for s in _slab(section))])
        grey = _stretch(scanned, 0.9995 if sequence.kind == "inflow" else float(rng.uniform(0.98, 0.997)))
    seen = tuple(lesion for lesion in shown.lesions if cut.share(lesion) > VISIBLE)
    return Picture(exam, _displayed(grey, rng), shown, cut.shares(), seen, cut)


def _slab(section: Section) -> list[Section]:
    out = []
    for t in np.linspace(-0.5, 0.5, SLAB_SECTIONS):
        at = list(section.centre)
        at[NORMAL[section.plane]] += float(t) * SLAB
        out.append(Section(section.plane, (at[0], at[1], at[2]), section.width, section.turn, section.size))
    return out


def _radiograph(shown: Body, exam: Exam, patient: Patient, centre: Point, width: float, rng: np.random.Generator, size: int) -> Picture:
    paths = dr.integrals(shown, "frontal" if exam.plane == "coronal" else "lateral", centre, width, size)
    thick = float(np.median(paths[paths > AIR_PATH])) if (paths > AIR_PATH).any() else 0.0
    photons = float(np.exp(rng.uniform(np.log(4e3), np.log(4e4)) + max(0, thick - USUAL_PATH)))
    exposure = dr.Exposure(photons, float(rng.uniform(0.15, 0.6)), float(rng.uniform(0.08, 0.16)))
    grey = dr.display(dr.transmitted(paths, exposure, rng), exposure, float(rng.uniform(0.75, 1.3)))
    tilt = float(rng.normal(0, 2))
    grey = ndimage.rotate(grey, tilt, reshape=False, order=1, mode="nearest")
    return Picture(exam, _displayed(grey, rng), shown, {}, shown.lesions)


def _stretch(signal: A, top: float) -> A:
    low, high = np.quantile(signal, [0.02, top])
    out: A = np.clip((signal - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    return out


def _displayed(grey: A, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """8 bits, after the changes that pictures go through before they are in a collection: gamma, brightness, contrast, equalisation.

    They say nothing about the patient, so they are what keeps a histogram from knowing the diagnosis.
    """
    gamma, low, high, equal = float(np.exp(rng.uniform(-0.3, 0.3))), float(rng.uniform(0, 0.12)), float(rng.uniform(0.8, 1)), float(rng.random())
    out = np.clip(grey, 0, 1) ** gamma
    if equal < 0.15:  # as displays with histogram equalisation do, in part
        rank = np.searchsorted(np.sort(out, axis=None), out, side="left") / out.size
        out = 0.5 * out + 0.5 * rank
    return np.asarray(np.round(255 * (low + (high - low) * out)), dtype=np.uint8)
