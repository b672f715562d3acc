"""2D zero-shot classification with an ensemble of prompts a class (Radford et al. 2021, section 3.1.4).

The class embedding is the normalized mean of the normalized embeddings of its prompts; an image's score for a class is the
cosine of the two. The answer is the largest; binary tasks are ranked by the difference of the two.
"""

from __future__ import annotations

import pandas as pd

from radisim_cl.bench.protocols import _labelled
from radisim_cl.bench.seen import Embed, F, Needs
from radisim_cl.specs.benchmark import ClassifySubtask, OrdinalSubtask

NEEDS = Needs()
score, read, lacking = _labelled.cosines, _labelled.read, _labelled.lacking


def queries(spec: ClassifySubtask | OrdinalSubtask, frame: pd.DataFrame, embed: Embed) -> F:
    """(K, D) class embeddings."""
    return _labelled.ensembles(spec.prompts(), embed)
