"""2D zero-shot classification with an ensemble of prompts a class (Radford et al. 2021, section 3.1.4).

The class embedding is the normalized mean of the normalized embeddings of its prompts; an image's score for a class is the
cosine of the two. The answer is the largest; binary tasks are ranked by the difference of the two.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radisim_cl.specs.benchmark import SubtaskSpec

F = npt.NDArray[np.float32]


def texts(spec: SubtaskSpec) -> list[str]:
    """The prompts, in the order of the classes."""
    return [p for prompts in spec.prompts().values() for p in prompts]


def score(spec: SubtaskSpec, images: F, prompts: F) -> F:
    """(n, K) cosine scores from (n, D) image and (prompts, D) text embeddings, both of unit length."""
    out, start = [], 0
    for names in spec.prompts().values():
        mean = prompts[start : start + len(names)].mean(axis=0)
        out.append(mean / np.linalg.norm(mean))
        start += len(names)
    scores: F = (images @ np.stack(out).T).astype(np.float32)
    return scores
