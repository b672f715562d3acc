"""Magnetic resonance at 1.5 T: signal equations, bias field, Rician noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radisim_cl.phantom.body import textures
from radisim_cl.phantom.sections import Sampled, pooled
from radisim_cl.phantom.shapes import A
from radisim_cl.phantom.tissues import table

R1, R2 = 4.1, 4.6
"""Relaxivities of gadolinium in plasma at 1.5 T, 1/(mmol/l s) (Rohrer et al. 2005, Invest Radiol 40:715, gadopentetate)."""


@dataclass(frozen=True)
class Sequence:
    """How the signal is made.

    Attributes:
        kind: spin echo, inversion recovery (with a spin echo), or spoiled gradient echo with inflow.
        tr, te, ti: repetition, echo and inversion time, ms.
        b: diffusion weighting, s/mm^2.
        flip: degrees, gradient echo only.
        contrast: whether gadolinium was given.
        fat_suppressed: whether fat gives no signal.
    """

    kind: Literal["spin echo", "inversion recovery", "inflow"]
    tr: float
    te: float
    ti: float = 0.0
    b: float = 0.0
    flip: float = 90.0
    contrast: bool = False
    fat_suppressed: bool = False


SEQUENCES = {
    "T1": Sequence("spin echo", tr=550, te=12),
    "T2": Sequence("spin echo", tr=4500, te=100),
    "PD": Sequence("spin echo", tr=3000, te=25, fat_suppressed=True),
    "FLAIR": Sequence("inversion recovery", tr=9000, te=110, ti=2400),
    "T1C": Sequence("spin echo", tr=550, te=12, contrast=True),
    "MRA": Sequence("inflow", tr=25, te=4, flip=25),
    "DWI": Sequence("spin echo", tr=5000, te=85, b=1000, fat_suppressed=True),
}
"""Usual sequences by name; MRA is time of flight."""


def spin_echo(pd: A, t1: A, t2: A, tr: float, te: float) -> A:
    """S = PD (1 - exp(-TR/T1)) exp(-TE/T2)   (Bernstein, King and Zhou 2004, Handbook of MRI Pulse Sequences, section 14.3)."""
    out: A = pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)
    return out


def inversion_recovery(pd: A, t1: A, t2: A, tr: float, te: float, ti: float) -> A:
    """S = PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2)   (the same, section 14.2)."""
    out: A = pd * np.abs(1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1)) * np.exp(-te / t2)
    return out


def spoiled(pd: A, t1: A, t2: A, tr: float, te: float, flip: float, flow: A) -> A:
    """S = PD sin(a) (1 - E1) / (1 - E1 cos(a)) exp(-TE/T2); spins that flow in are still relaxed, E1 = 0 (the same, sections 14.1 and 15.3)."""
    a, e1 = np.radians(flip), np.where(flow > 0, 0, np.exp(-tr / t1))
    out: A = pd * np.sin(a) * (1 - e1) / (1 - e1 * np.cos(a)) * np.exp(-te / t2)
    return out


def signal(sequence: Sequence) -> A:
    """(tissues,) signal of each tissue, relative to fully relaxed water."""
    pd, t1, t2, adc, uptake, fat, flow = (table(a) for a in ("pd", "t1", "t2", "adc", "uptake", "fat", "flow"))
    if sequence.contrast:  # 1/T' = 1/T + r c; times in ms, r in 1/s
        t1, t2 = (np.asarray(1 / (1 / t + uptake * (r / 1000)), dtype=np.float32) for t, r in ((t1, R1), (t2, R2)))
    if sequence.fat_suppressed:
        pd = np.asarray(pd * (1 - fat), dtype=np.float32)
    if sequence.kind == "inflow":
        return spoiled(pd, t1, t2, sequence.tr, sequence.te, sequence.flip, flow)
    if sequence.kind == "inversion recovery":
        out = inversion_recovery(pd, t1, t2, sequence.tr, sequence.te, sequence.ti)
    else:
        out = spin_echo(pd, t1, t2, sequence.tr, sequence.te)
    if not sequence.contrast:
        out = np.asarray(out * np.where(flow > 0, 0.1, 1), dtype=np.float32)  # spins leave the slice between the pulses: flow void
    weighted: A = (out * np.exp(-sequence.b * adc / 1000)).astype(np.float32)
    return weighted


def clean(cut: Sampled, sequence: Sequence) -> A:
    """(size, size) noiseless signal, with partial volume."""
    s = cut.lookup(signal(sequence), 0.0)
    return pooled(s * (1 + textures(cut.body, cut.index, cut.x, cut.y, cut.z)))


def bias_field(shape: tuple[int, int], strength: float, rng: np.random.Generator) -> A:
    """A smooth positive field, exp of a random quadratic, within about exp(+-strength): receive coils (Sled et al. 1998, IEEE TMI 17:87)."""
    v, u = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    c = rng.uniform(-1, 1, 5)
    poly = c[0] * u + c[1] * v + c[2] * u * v + c[3] * (u * u - 0.5) + c[4] * (v * v - 0.5)
    out: A = np.exp(strength * poly / 2).astype(np.float32)
    return out


def rician(magnitude: A, sigma: float, rng: np.random.Generator) -> A:
    """|S + n1 + i n2|, both of deviation sigma (Gudbjartsson and Patz 1995, MRM 34:910)."""
    n = rng.standard_normal((2, *magnitude.shape)).astype(np.float32) * np.float32(sigma)
    out: A = np.hypot(magnitude + n[0], n[1])
    return out


def scan(cut: Sampled, sequence: Sequence, sigma: float, strength: float, rng: np.random.Generator) -> A:
    """(size, size) magnitude image.

    Args:
        cut: the section.
        sequence: what is weighted.
        sigma: noise, relative to the brightest tenth of the picture's clean signal.
        strength: of the bias field.
        rng: of this picture.
    """
    s = clean(cut, sequence)
    bright = float(np.quantile(s[s > 0], 0.9)) if (s > 0).any() else 1.0
    return rician(s * bias_field((s.shape[0], s.shape[1]), strength, rng), sigma * bright, rng)
