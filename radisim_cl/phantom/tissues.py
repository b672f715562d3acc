"""What tissues are to X-rays and to a 1.5 T magnet.

Hounsfield units: Schneider, Bortfeld and Schlegel 2000 (Phys Med Biol 45:459, table 1) and ICRU 46; blood, clot, effusion and lung
findings as in radiology texts (Kalender 2011, Computed Tomography, ch. 1; Hansell et al. 2008 for ground glass).
T1 and T2 at 1.5 T in ms: Stanisz et al. 2005 (MRM 54:507), de Bazelaire et al. 2004 (Radiology 230:652) for the abdomen, Gold et al. 2004
(AJR 183:343) for the knee, Rakow-Penner et al. 2006 (JMRI 23:87) for the breast; CSF: Rooney et al. 2007 (MRM 57:308). Proton densities are
relative to water. Diffusion in 1e-3 mm^2/s: Le Bihan et al. 2001 (JMRI 13:534).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Tissue:
    """Physical constants of a tissue.

    Attributes:
        hu: CT number, Hounsfield units.
        t1, t2: relaxation times at 1.5 T, ms.
        pd: protons that give a signal, relative to water, 0 to 1.
        adc: apparent diffusion coefficient, 1e-3 mm^2/s.
        uptake: gadolinium after injection, mmol/l.
        fat: share of the protons that are fat, which fat suppression removes, 0 to 1.
        flow: whether fresh spins flow in: bright in time-of-flight angiography, void in spin echo.
    """

    hu: float
    t1: float
    t2: float
    pd: float
    adc: float = 0.8
    uptake: float = 0.0
    fat: float = 0.0
    flow: bool = False


TISSUES: dict[str, Tissue] = {
    "air": Tissue(-1000, 1000, 10, 0.0, 0.0),
    "fat": Tissue(-100, 290, 85, 0.9, 0.1, fat=0.9),
    "skin": Tissue(20, 900, 35, 0.7, 0.8),
    "muscle": Tissue(55, 1010, 44, 0.8, 1.4, uptake=0.08),
    "soft": Tissue(40, 850, 50, 0.8, 1.2, uptake=0.08),
    "water": Tissue(0, 3000, 1500, 1.0, 2.4),
    "cortical bone": Tissue(1100, 250, 1.0, 0.12, 0.0),
    "marrow": Tissue(230, 350, 60, 0.75, 0.3, fat=0.7),
    "red marrow": Tissue(260, 550, 50, 0.7, 0.5, fat=0.4, uptake=0.1),
    "cartilage": Tissue(110, 1060, 42, 0.75, 1.2),
    "fibrous": Tissue(90, 900, 8, 0.35, 0.5),
    "blood": Tissue(42, 1440, 290, 0.85, 1.8, uptake=1.2, flow=True),
    "contrast blood": Tissue(170, 1440, 290, 0.85, 1.8, uptake=1.2, flow=True),
    "clot": Tissue(68, 1100, 55, 0.8, 0.6),
    # head
    "white matter": Tissue(28, 640, 74, 0.70, 0.70, uptake=0.02),
    "grey matter": Tissue(38, 1120, 95, 0.82, 0.83, uptake=0.04),
    "csf": Tissue(6, 4000, 1800, 1.0, 3.0),
    "vitreous": Tissue(8, 3800, 1500, 1.0, 3.0),
    "oedema": Tissue(20, 1500, 160, 0.9, 1.5),
    "glioma": Tissue(30, 1500, 140, 0.88, 1.15, uptake=0.35),
    "meningioma": Tissue(46, 1150, 92, 0.85, 0.75, uptake=0.75),
    "pituitary tumour": Tissue(42, 1050, 95, 0.85, 0.85, uptake=0.5),
    "pituitary": Tissue(40, 950, 85, 0.8, 0.9, uptake=0.6),
    "necrosis": Tissue(14, 2400, 350, 0.95, 2.0),
    "calcification": Tissue(450, 600, 15, 0.3, 0.3),
    # chest
    "lung": Tissue(-830, 1200, 30, 0.18, 1.5, uptake=0.2),
    "dense lung": Tissue(-740, 1200, 32, 0.25, 1.5, uptake=0.2),
    "lucent lung": Tissue(-885, 1200, 28, 0.12, 1.5, uptake=0.2),
    "ground glass": Tissue(-520, 1200, 45, 0.35, 1.6, uptake=0.2),
    "consolidation": Tissue(20, 1300, 90, 0.8, 1.6, uptake=0.3),
    "effusion": Tissue(8, 3000, 900, 1.0, 2.8),
    "myocardium": Tissue(50, 1030, 40, 0.8, 1.3, uptake=0.25),
    "lymph node": Tissue(40, 1100, 75, 0.85, 1.0, uptake=0.3),
    # abdomen and pelvis
    "liver": Tissue(62, 590, 46, 0.78, 1.2, uptake=0.3),
    "spleen": Tissue(50, 1060, 79, 0.82, 0.85, uptake=0.4),
    "kidney": Tissue(38, 970, 87, 0.85, 1.9, uptake=0.6),
    "renal pelvis": Tissue(8, 2500, 700, 1.0, 2.5),
    "pancreas": Tissue(40, 580, 46, 0.78, 1.5, uptake=0.35),
    "stomach wall": Tissue(42, 850, 60, 0.8, 1.3, uptake=0.25),
    "gastric content": Tissue(18, 2000, 250, 0.95, 2.2),
    "bowel": Tissue(30, 1000, 75, 0.8, 1.4, uptake=0.2),
    "urine": Tissue(5, 3200, 1200, 1.0, 2.6),
    "bile": Tissue(8, 2200, 700, 1.0, 2.6),
    "prostate": Tissue(40, 1200, 88, 0.85, 1.4, uptake=0.25),
    "uterus": Tissue(45, 1100, 75, 0.83, 1.4, uptake=0.35),
    # joints, spine, breast
    "meniscus": Tissue(90, 900, 10, 0.4, 0.5),
    "ligament": Tissue(80, 900, 9, 0.38, 0.5),
    "tear": Tissue(15, 1900, 180, 0.92, 2.0),
    "joint fluid": Tissue(8, 3400, 750, 1.0, 2.6),
    "disc": Tissue(75, 1150, 95, 0.8, 1.5),
    "dry disc": Tissue(85, 900, 42, 0.55, 0.8),
    "cord": Tissue(35, 850, 80, 0.75, 0.9),
    "gland": Tissue(40, 1270, 58, 0.82, 1.8, uptake=0.25),
    "breast tumour": Tissue(50, 1100, 70, 0.85, 1.0, uptake=0.9),
    # Degenerate meniscus or ligament: no measurement, values chosen between whole and torn.
    "mucoid": Tissue(55, 1100, 32, 0.6, 1.2),
}
"""By name."""

NAMES = tuple(TISSUES)
"""Their order in tables."""


def table(attribute: str) -> npt.NDArray[np.float32]:
    """(tissues,) one constant of all tissues, in the order of NAMES."""
    return np.array([getattr(TISSUES[n], attribute) for n in NAMES], dtype=np.float32)
