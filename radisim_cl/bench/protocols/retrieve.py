"""Retrieval: which caption belongs to an image, and which image to a caption (RadiSimCLIP, MedAGI 2025; Radford et al. 2021).

Candidates of an image are the captions of the scored split, those of equal text being one; its answer is its own. Candidates of a caption
are the split's images; its answers are all that have it, and the first of them counts. Candidates are ordered by cosine, from rank 1. Those
of the same cosine are in random order, and each metric is what it is on average over these orders: a constant model has chance.

Every caption counts once in either direction: what its images reach is averaged first. A caption that many images have is then not worth
more than another, and no fixed order of the captions is better than a random one. Chance is that of random order, exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from radisim_cl.bench.items import MODEL
from radisim_cl.bench.seen import Embed, Needs, Seen
from radisim_cl.specs.benchmark import RetrieveSubtask
from radisim_cl.specs.metrics import BY_PROTOCOL
from radisim_cl.stats import Values

NEEDS = Needs()
CELLS = 2**24
"""Cosines that are held at a time."""
F = npt.NDArray[np.float64]
I = npt.NDArray[np.int64]  # noqa: E741


def queries(spec: RetrieveSubtask, frame: pd.DataFrame, embed: Embed) -> npt.NDArray[np.float32]:
    """(K, D) embeddings of the captions, each text once, in the order in which they first stand in the frame."""
    captions = frame["caption"].unique().tolist()
    return embed(captions) if captions else np.empty((0, 0), dtype=np.float32)


def score(spec: RetrieveSubtask, seen: Seen) -> dict[str, pd.DataFrame]:
    """One row an image, `truth` being the number of its caption; `scores` in the order of the protocol's metrics, the later half its caption's."""
    caption = pd.factorize(seen.frame["caption"])[0].astype(np.int64)
    each = np.arange(len(seen.queries))
    to_text = reached(*_places(seen.images, caption, seen.queries, each), len(each))
    to_image = reached(*_places(seen.queries, each, seen.images, caption), len(caption))
    return {MODEL: seen.frame.assign(truth=caption, scores=np.hstack([to_text, to_image[caption]]).tolist())}


def _places(asked: npt.NDArray[np.float32], of: I, candidates: npt.NDArray[np.float32], are: I) -> tuple[F, F, F]:
    """(Q,) candidates above the best answer, candidates of its cosine, and answers among these; the first is NaN where a cosine is.

    Args:
        asked: (Q, D) unit vectors, and `of`, (Q,), their captions.
        candidates: (C, D) unit vectors, and `are`, (C,), their captions.
    """
    above, level, right = (np.zeros(len(asked)) for _ in range(3))
    rows = max(1, CELLS // max(1, len(candidates)))
    for block in (slice(i, i + rows) for i in range(0, len(asked), rows)):
        cosines = asked[block] @ candidates.T
        answers = of[block, None] == are
        best = np.where(answers, cosines, -np.inf).max(axis=1, keepdims=True)
        same = cosines == best
        above[block] = np.where(np.isnan(cosines).any(axis=1), np.nan, (cosines > best).sum(axis=1))
        level[block], right[block] = same.sum(axis=1), (same & answers).sum(axis=1)
    return above, level, right


def reached(above: F, level: F, right: F, candidates: int) -> F:
    """(Q, 5) metrics of one direction, averaged over the orders of candidates of the same cosine.

    Of `level` candidates in random order, `right` of them answers, the first answer stands at (level + 1) / (right + 1) on average, and none
    is among the first j with probability C(level - right, j) / C(level, j), the hypergeometric.

    Args:
        above: (Q,) candidates above the best answer.
        level: (Q,) candidates of its cosine, itself included.
        right: (Q,) answers among them.
        candidates: how many there are in all.
    """

    def hit(k: int) -> F:
        j, missed = np.clip(k - above, 0, level), np.ones(len(above))
        for i in range(k):
            missed *= np.divide(level - right - i, level - i, out=np.ones(len(above)), where=i < j)
        return np.where(np.isnan(above), np.nan, 1 - missed)

    return np.stack([hit(-(-candidates // 100)), above + (level + 1) / (right + 1), hit(1), hit(5), hit(10)], axis=1)


def read(spec: RetrieveSubtask, rows: pd.DataFrame) -> dict[str, Values]:
    """By who answered, image by image; chance is that of candidates which all have one cosine."""
    out = {}
    for by, part in rows.groupby("by"):
        _, caption, images = np.unique(part["truth"], return_inverse=True, return_counts=True)
        n, k = len(caption), len(images)
        none = np.zeros(k)
        blind = np.hstack([reached(none, none + k, none + 1, k), reached(none, none + n, images.astype(np.float64), n)]).mean(axis=0)
        names, table = BY_PROTOCOL["retrieve"], np.stack(part["scores"].to_list())
        out[str(by)] = Values(
            part["patient"].to_numpy(dtype=str), dict(zip(names, table.T, strict=True)), dict(zip(names, blind.tolist(), strict=True)), [],
            weights=1 / images[caption], ranges={"i2t_average_rank": (1.0, max(2.0, k)), "t2i_average_rank": (1.0, max(2.0, n))},
        )
    return out


def lacking(spec: RetrieveSubtask, answers: Values) -> str:
    """Too few patients."""
    n = len(np.unique(answers.patients))
    return f"{n} patients with a caption, and {spec.min_patients} are needed" if n < spec.min_patients else ""
