"""Patients that do not exist: who they are is a function of a seed and a name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np


def generator(seed: int, *names: object) -> np.random.Generator:
    """Random numbers that belong to these names: the same on every machine, in any order, in any process.

    Philox is counter-based (Salmon et al. 2011), and its integers and uniforms are exact. Normal draws and sines go through the machine's
    mathematics library, so that a last bit of a float may differ between machines, never a decision made with `random` or `integers`; what
    that does to pixels is said in `make.make`.
    """
    text = "\0".join(str(n) for n in (seed, *names))
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")))


@dataclass(frozen=True)
class Patient:
    """One person.

    Attributes:
        seed: of the phantom.
        name: stable and unique; in manifests it is the `patient`.
        sex: F or M.
        age: years, 20 to 90.
        size: body size relative to the average, 0.88 to 1.12 (men are larger).
        fat: thickness of subcutaneous fat relative to the average, 0.5 to 2.
    """

    seed: int
    name: str
    sex: Literal["F", "M"]
    age: int
    size: float
    fat: float

    @classmethod
    def draw(cls, seed: int, name: str, sex: Literal["F", "M"] | None = None) -> Patient:
        """The patient of this name."""
        rng = generator(seed, "patient", name)
        male = rng.random() < 0.5
        age = int(20 + 70 * rng.beta(2.2, 1.8))
        size = float(np.clip((1.03 if (sex or ("M" if male else "F")) == "M" else 0.97) + 0.04 * rng.standard_normal(), 0.88, 1.12))
        fat = float(np.clip(np.exp(0.35 * rng.standard_normal()), 0.5, 2.0))
        return cls(seed, name, sex or ("M" if male else "F"), age, size, fat)

    def rng(self, *names: object) -> np.random.Generator:
        """Random numbers of one aspect of this patient, such as the shape of the head."""
        return generator(self.seed, self.name, *names)
