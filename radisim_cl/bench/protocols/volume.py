"""Zero-shot classification of volumes: every slice is compared with many fine prompts, and the slices vote.

A slice's score for a class is the largest of its cosines with that class's prompts; it votes for the class of its best prompt. The
volume is of the class with most votes; a tie goes to the larger mean score. The AUC ranks volumes by the mean over their slices of
the positive class's score minus the negative one's.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from radisim_cl.bench.items import ITEM, MODEL
from radisim_cl.bench.protocols import _labelled
from radisim_cl.bench.seen import Embed, F, Needs, Seen
from radisim_cl.specs.benchmark import VolumeSubtask

NEEDS = Needs()
read, lacking = _labelled.read, _labelled.lacking


def queries(spec: VolumeSubtask, frame: pd.DataFrame, embed: Embed) -> F:
    """(K, D) embeddings of the fine prompts, in the order of the classes."""
    return embed([p for prompts in spec.prompts().values() for p in prompts])


def score(spec: VolumeSubtask, seen: Seen) -> dict[str, pd.DataFrame]:
    """One row a volume; its scores are the mean slice score of each class, then the share of slices that voted for it."""
    starts = np.cumsum([0, *(len(p) for p in spec.prompts().values())])[:-1]
    best = np.maximum.reduceat(seen.cosines.astype(np.float64), starts, axis=1)
    votes = np.eye(len(starts))[best.argmax(axis=1)]
    volume = seen.frame.groupby(ITEM, sort=False).ngroup().to_numpy()
    slices = np.bincount(volume)[:, None]
    sums = np.zeros((len(slices), 2 * len(starts)))
    np.add.at(sums, volume, np.hstack([best, votes]))
    return {MODEL: seen.frame.drop_duplicates(ITEM).assign(scores=(sums / slices).tolist())}
