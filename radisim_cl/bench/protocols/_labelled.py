"""What protocols whose answer is a class have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from radisim_cl.bench.items import MODEL
from radisim_cl.bench.seen import Embed, F, Seen
from radisim_cl.specs.benchmark import LabelledSubtask
from radisim_cl.stats import Answers


def ensembles(prompts: Mapping[str, list[str]], embed: Embed) -> F:
    """(K, D) normalized means of the normalized embeddings of each entry's prompts (Radford et al. 2021, section 3.1.4)."""
    embedded, out, start = embed([p for each in prompts.values() for p in each]), [], 0
    for each in prompts.values():
        mean = embedded[start : start + len(each)].mean(axis=0)
        out.append(mean / np.linalg.norm(mean))
        start += len(each)
    return np.stack(out)


def cosines(spec: LabelledSubtask, seen: Seen) -> dict[str, pd.DataFrame]:
    """Each item's scores are its image's cosines with the classes."""
    return {MODEL: seen.frame.assign(scores=seen.cosines.astype(np.float64).tolist())}


def read(spec: LabelledSubtask, rows: pd.DataFrame) -> dict[str, Answers]:
    """By who answered. A row's `scores` are K scores, and where there was a vote K shares of the votes after them."""
    out, k = {}, len(spec.classes)
    for by, part in rows.groupby("by"):
        table = np.stack(part["scores"].to_list())
        out[str(by)] = Answers(part["patient"].to_numpy(dtype=str), part["truth"].to_numpy(dtype=np.int64), table[:, :k],
                               table[:, k:] if table.shape[1] > k else None)
    return out


def lacking(spec: LabelledSubtask, answers: Answers) -> str:
    """Too few patients of a class."""
    fewest = min(answers.patients_by_class)
    name = list(spec.classes)[answers.patients_by_class.index(fewest)]
    return f"{fewest} patients of class {name!r}, and {spec.min_patients} are needed" if fewest < spec.min_patients else ""
