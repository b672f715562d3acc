"""Computed tomography: Hounsfield units, quantum noise, windows. No beam hardening and no streaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from radisim_cl.phantom.body import textures
from radisim_cl.phantom.sections import Sampled, pooled
from radisim_cl.phantom.shapes import A
from radisim_cl.phantom.tissues import table

AIR_HU = -1000.0
REFERENCE_NOISE = 10.0
"""Noise in HU of a 5 mm slice at the reference dose in a 300 mm patient."""
MU_WATER = 0.0193
"""Attenuation of water at 70 keV, the mean energy of a 120 kV beam, 1/mm (Hubbell and Seltzer 1995, NISTIR 5632)."""


@dataclass(frozen=True)
class Window:
    """What of the Hounsfield scale is shown.

    Attributes:
        level: middle, HU.
        width: HU from black to white.
    """

    level: float
    width: float

    def __call__(self, hu: A) -> A:
        """HU to 0..1 (DICOM PS3.3 C.11.2.1.2, linear exact)."""
        out: A = np.clip((hu - self.level) / self.width + 0.5, 0, 1).astype(np.float32)
        return out


WINDOWS = {
    "brain": Window(38, 90), "subdural": Window(70, 200), "bone": Window(450, 1800), "lung": Window(-600, 1500), "soft tissue": Window(45, 400),
    "mediastinum": Window(45, 380), "liver": Window(70, 180),
}
"""Usual windows by name."""


def hounsfield(cut: Sampled) -> A:
    """(size, size) noiseless CT numbers, with partial volume."""
    hu = cut.lookup(table("hu"), AIR_HU)
    # Texture is a spread of density, so it scales with the distance from air.
    spread = textures(cut.body, cut.index, cut.x, cut.y, cut.z) * np.float32(0.06)
    return pooled((hu + spread * (hu - np.float32(AIR_HU))).astype(np.float32))


def noise(dose: float, thickness: float, diameter: float) -> float:
    """Standard deviation of the noise, HU: sigma ~ exp(mu d / 2) / sqrt(dose * thickness) (Brooks and Di Chiro 1976, Med Phys 3:237).

    Args:
        dose: relative to the reference.
        thickness: of the slice, mm.
        diameter: of the patient in water, mm.
    """
    return float(REFERENCE_NOISE * np.exp(MU_WATER * (diameter - 300) / 2) / np.sqrt(dose * thickness / 5))


def scan(cut: Sampled, sigma: float, rng: np.random.Generator) -> A:
    """(size, size) CT numbers with noise of a given deviation; reconstruction correlates it between neighbours.

    Args:
        cut: the section.
        sigma: HU.
        rng: of this picture.
    """
    clean = hounsfield(cut)
    grain = ndimage.gaussian_filter(rng.standard_normal(clean.shape).astype(np.float32), 0.6, mode="wrap")
    out: A = clean + np.float32(sigma) * grain / np.float32(_SPREAD)
    return out


_SPREAD = float(np.sqrt(np.sum(np.outer(k := ndimage.gaussian_filter1d(np.eye(1, 31, 15)[0], 0.6), k) ** 2)))
"""Deviation that the filter leaves of white noise of deviation 1."""
