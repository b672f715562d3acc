"""The items of a benchmark: which images a subtask asks about, in which split."""

from __future__ import annotations

import hashlib

import pandas as pd

from radisim_cl.corpus.corpora import Corpora, matches
from radisim_cl.specs.benchmark import BenchmarkSpec, SubtaskSpec

MODEL = "model"
"""Who answered, beside the floors."""


def items(spec: SubtaskSpec, corpora: Corpora, split: str | None = None) -> pd.DataFrame:
    """One row an image: `source, row, patient, truth` (class index) and `split`; all splits, or one.

    Raises:
        InputError: unknown source or column.
    """
    of_value = {v: i for i, c in enumerate(spec.classes.values()) for v in c.values}
    parts = []
    for part in spec.items:
        frame = corpora[part.source].frame
        keep = matches(frame, part.where) & matches(frame, {spec.column: list(of_value)})
        kept = frame[keep]
        parts.append(pd.DataFrame({"source": part.source, "row": kept.index, "patient": kept["patient"],
                                   "truth": kept[spec.column].map(of_value).astype(int), "split": kept["split"]}))
    found = pd.concat(parts, ignore_index=True).drop_duplicates(["source", "row"])
    return found if split is None else found[found["split"] == split].reset_index(drop=True)


def rarest(frame: pd.DataFrame, classes: int) -> int:
    """Patients of the class that has fewest."""
    return min(frame.loc[frame["truth"] == c, "patient"].nunique() for c in range(classes))


def pseudonym(benchmark: BenchmarkSpec, name: str) -> str:
    """A patient's or item's name in everything that a run writes."""
    return hashlib.sha256(f"{benchmark.version}\0record\0{name}".encode()).hexdigest()[:16]
