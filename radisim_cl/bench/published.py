"""When a figure of others may stand beside a score of ours."""

from __future__ import annotations

from typing import Literal

from radisim_cl.specs.benchmark import SubtaskSpec
from radisim_cl.specs.catalog import CatalogSpec
from radisim_cl.specs.datasets import PublishedSpec


def shown_published(subtask: SubtaskSpec, catalog: CatalogSpec, split: Literal["tune", "gate", "report"] = "report") -> list[PublishedSpec]:
    """The published figures to print beside a score; none unless both are of the real set's own test split.

    Never beside a score on the phantom, of another split than `report`, or of a subtask one of whose sources has a split of our making.
    """
    official = all(part.source in catalog.corpora and catalog.corpora[part.source].official_split for part in subtask.items)
    return list(subtask.published) if official and split == "report" and catalog.phantom is None else []
