"""The items of a benchmark: which images a subtask asks about, in which split."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from radisim_cl.corpus.corpora import Corpora, Corpus, matches
from radisim_cl.errors import InputError
from radisim_cl.registry import hint
from radisim_cl.specs.benchmark import BenchmarkSpec, GroundSubtask, ItemsSpec, LabelledSubtask, RetrieveSubtask, SubtaskSpec

MODEL, MEAN_MASK, TEMPLATE = "model", "mean_mask", "template "
"""Who answered, beside the floors; `mean_mask` is the predictor that does not see the image, where the answer is a place. `template` and the
digest of its prompts is the model with one template alone."""
ITEM = ["source", "item"]
"""The columns that name an item."""


def items(spec: SubtaskSpec, corpora: Corpora, *splits: str) -> pd.DataFrame:
    """One row an image: `source, row, item, patient, truth` and `split`; of the splits that are named, or of all.

    `item` is the row's id; of a volume, the study's, which its slices share. `truth` is the class index; where masks or captions are asked
    for, 0. Where captions are, there is a column `caption` of them, without white space at either end.

    Raises:
        InputError: unknown source, column or structure; a volume whose rows disagree.
    """
    if isinstance(spec, LabelledSubtask):
        return _labelled(spec, corpora, splits)
    return _masked(spec, corpora, splits) if isinstance(spec, GroundSubtask) else _captioned(spec, corpora, splits)


def _labelled(spec: LabelledSubtask, corpora: Corpora, splits: Sequence[str]) -> pd.DataFrame:
    of_class: list[list[str]] = [c.values for c in spec.classes.values()]
    of_value = {v: i for i, values in enumerate(of_class) for v in values}
    parts = []
    for part in spec.items:
        frame = corpora[part.source].frame
        kept = _kept(frame, part, splits, matches(frame, {spec.column: list(of_value)}), spec.column)
        names = kept["study"].where(kept["study"] != "", kept["id"]) if spec.protocol == "volume" else kept["id"]
        parts.append(_rows(part.source, kept, names, kept[spec.column].map(of_value).astype(int)))
    found = _joined(parts)
    for column, what in (("truth", f"answers in column {spec.column!r}"), ("patient", "patients")) if spec.protocol == "volume" else ():
        several = (found.groupby(ITEM)[column].transform("nunique") > 1).to_numpy()
        if several.any():
            wrong = found[several].iloc[0]
            raise InputError(f"{wrong['source']}: row {wrong['row'] + 1} of the manifest is of a study whose rows have different {what}; "
                             "a volume has one")
    return found


def _masked(spec: GroundSubtask, corpora: Corpora, splits: Sequence[str]) -> pd.DataFrame:
    known = {s for part in spec.items for s in corpora[part.source].structures.values()}
    if known and (unknown := [s for s in spec.structures if s not in known]):
        raise InputError(f"structure {unknown[0]!r} is in no mask of its sources. {hint(unknown[0], known)}")
    parts = []
    for part in spec.items:
        corpus = corpora[part.source]
        shows = bool(set(spec.structures) & set(corpus.structures.values()))
        kept = _kept(corpus.frame, part, splits, (corpus.frame["mask"] != "") & shows)
        parts.append(_rows(part.source, kept, kept["id"], pd.Series(0, index=kept.index)))
    return _joined(parts)


def _captioned(spec: RetrieveSubtask, corpora: Corpora, splits: Sequence[str]) -> pd.DataFrame:
    parts = []
    for part in spec.items:
        frame = corpora[part.source].frame
        captions = frame["caption"].str.strip()
        kept = _kept(frame, part, splits, captions != "")
        parts.append(_rows(part.source, kept, kept["id"], pd.Series(0, index=kept.index)).assign(caption=captions[kept.index]))
    return _joined(parts)


def _kept(frame: pd.DataFrame, part: ItemsSpec, splits: Sequence[str], also: pd.Series[bool], *columns: str) -> pd.DataFrame:
    """Rows of a manifest that a part of a subtask asks about, with the columns that items are made of, and these."""
    split = matches(frame, {"split": list(splits)} if splits else {})
    return frame[list(dict.fromkeys(("id", "study", "patient", "split", *columns)))][matches(frame, part.where) & split & also]


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Each image once, which only several parts can ask for twice."""
    if len(parts) == 1:
        return parts[0].reset_index(drop=True)
    return pd.concat(parts, ignore_index=True).drop_duplicates(["source", "row"], ignore_index=True)


def _rows(source: str, kept: pd.DataFrame, names: pd.Series[str], truth: pd.Series[int]) -> pd.DataFrame:
    return pd.DataFrame({"source": source, "row": kept.index, "item": names, "patient": kept["patient"], "truth": truth, "split": kept["split"]})


def structure_index(spec: GroundSubtask, corpus: Corpus) -> npt.NDArray[np.uint8]:
    """(256,) from a mask's pixel value to 1 + the index of the structure that is asked for; 0 for anything else."""
    table = np.zeros(256, dtype=np.uint8)
    for value, structure in corpus.structures.items():
        if structure in spec.structures:
            table[value] = 1 + spec.structures.index(structure)
    return table


def counted(frame: pd.DataFrame) -> int:
    """Items of a frame of `items`."""
    return len(frame.drop_duplicates(ITEM))


def fewest(spec: SubtaskSpec, frame: pd.DataFrame) -> int:
    """Patients that a decision rests on: of the rarest class; where masks or captions are asked for, all."""
    return rarest(frame, len(spec.classes)) if isinstance(spec, LabelledSubtask) else int(frame["patient"].nunique())


def rarest(frame: pd.DataFrame, classes: int) -> int:
    """Patients of the class that has fewest."""
    return min(frame.loc[frame["truth"] == c, "patient"].nunique() for c in range(classes))


def pseudonym(benchmark: BenchmarkSpec, name: str) -> str:
    """A patient's or item's name in everything that a run writes."""
    return _pseudonym(benchmark.version, name)


@functools.lru_cache(2**16)
def _pseudonym(version: str, name: str) -> str:
    """Kept, because subtasks ask about the same patients and items."""
    return hashlib.sha256(f"{version}\0record\0{name}".encode()).hexdigest()[:16]
