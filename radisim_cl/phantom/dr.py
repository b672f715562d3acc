"""Digital radiography: line integrals of attenuation, Poisson noise, scatter, display curve. The beam is parallel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from radisim_cl.phantom.body import Body
from radisim_cl.phantom.shapes import A, Point
from radisim_cl.phantom.tissues import NAMES, table

MU_WATER = 0.0206
"""Attenuation of water at 60 keV, the mean energy of a 100-120 kV chest beam, 1/mm (Hubbell and Seltzer 1995, NISTIR 5632)."""
View = Literal["frontal", "lateral"]


@dataclass(frozen=True)
class Exposure:
    """How the picture is taken.

    Attributes:
        photons: a pixel without a patient.
        scatter: scattered over primary photons behind the patient, 0 to 2.
        spread: of the scatter, as a share of the picture's side.
    """

    photons: float = 2e4
    scatter: float = 0.35
    spread: float = 0.12


def attenuation() -> A:
    """(tissues + 1,) 1/mm, in the order of NAMES; the last is air. mu = mu_water (1 + HU / 1000), the definition of the Hounsfield unit."""
    return np.append(MU_WATER * np.maximum(0, 1 + table("hu") / 1000), 0).astype(np.float32)


def integrals(body: Body, view: View, centre: Point, width: float, size: int, depth: int = 72) -> A:
    """(size, size) line integrals of attenuation, dimensionless.

    Rows run from head to foot; columns from the patient's right to left (frontal), or from front to back (lateral).

    Args:
        body: what the beam goes through.
        view: along y or along x.
        centre, width: middle and side of the picture, mm.
        size: pixels a side.
        depth: positions along the beam, from where the body begins to where it ends: also outside of the field that is looked at.
    """
    across, along = (0, 1) if view == "frontal" else (1, 0)
    t = (((np.arange(size) + 0.5) / size - 0.5) * width).astype(np.float32)
    low, high = body.reach[0][along], body.reach[1][along]
    step = (high - low) / depth
    z = (np.float32(centre[2]) - t).reshape(-1, 1, 1)
    columns = (np.float32(centre[across]) + t).reshape(1, -1, 1)
    beam = (low + (np.arange(depth) + 0.5) * step).astype(np.float32).reshape(1, 1, -1)
    index = body.sample(columns, beam, z) if view == "frontal" else body.sample(beam, columns, z)
    number = {n: i for i, n in enumerate(NAMES)}
    mu = attenuation()
    by_part = np.append(mu[[number[p.tissue] for p in body.parts]], 0).astype(np.float32)
    out: A = by_part[index].sum(axis=2) * np.float32(step)
    return out


def transmitted(paths: A, exposure: Exposure, rng: np.random.Generator | None) -> A:
    """(size, size) photons counted: I = I0 exp(-integral), scatter as a blurred share of the primary, Poisson noise.

    Args:
        paths: from `integrals`.
        exposure: photons, scatter.
        rng: of this picture; None for the expectation.
    """
    primary = exposure.photons * np.exp(-paths)
    scattered = exposure.scatter * ndimage.gaussian_filter(primary, exposure.spread * paths.shape[0], mode="nearest") if exposure.scatter else 0
    expected = primary + scattered
    out: A = (rng.poisson(expected) if rng else expected).astype(np.float32)
    return out


def display(photons: A, exposure: Exposure, contrast: float = 1.0, detail: float = 0.45) -> A:
    """0..1, dense is bright: the logarithm, its slow changes held down, through a sigmoid, as digital systems do.

    The slow part is a Gaussian blur of a twelfth of the picture (unsharp masking; Vuylsteke and Schoeters 1994 do it at every scale); the sigmoid is
    DICOM PS3.3 C.11.2.1.3.1.

    Args:
        photons: from `transmitted`.
        exposure: photons without a patient.
        contrast: slope; 1 is usual.
        detail: how much of the slow changes is taken away, 0 to 1.
    """
    log = -np.log(np.maximum(photons, 1) / exposure.photons)
    density = log - detail * ndimage.gaussian_filter(log, log.shape[0] / 12, mode="nearest")
    body = density[log > 0.15]
    low, high = np.quantile(body, [0.05, 0.95]) if body.size > 16 else (0.0, 1.0)
    middle, width = (low + high) / 2, max(float(high - low), 1e-3) / contrast
    out: A = (1 / (1 + np.exp(-4 * (density - middle) / width))).astype(np.float32)
    return out
