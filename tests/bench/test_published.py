"""Figures of others stand beside nothing but a score on the real set's own test split."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from _small import benchmark

from radisim_cl.bench.published import shown_published
from radisim_cl.specs.catalog import CatalogSpec

PUBLISHED = [{"model": "CLIP", "value": 0.62, "source": "a paper"}, {"model": "RadiSimCLIP", "value": 0.707, "source": "a paper"}]
OWN = {"manifest": "m.csv", "official_split": True, "splits": {"train": {"train": 0.8, "gate": 0.2}, "test": {"report": 1.0}}}
CUT = {"manifest": "m.csv"}


def catalog(phantom: bool = False, **corpora: dict[str, Any]) -> CatalogSpec:
    """A catalog of these corpora."""
    return CatalogSpec.model_validate({"name": "here", "corpora": corpora, "phantom": {} if phantom else None})


@pytest.mark.parametrize(("here", "split", "shown"), [
    (catalog(drawn=OWN), "report", True), (catalog(drawn=OWN), "gate", False), (catalog(drawn=CUT), "report", False),
    (catalog(drawn=OWN, phantom=True), "report", False), (catalog(other=OWN), "report", False),
], ids=["its own test split", "another split", "a split of ours", "the phantom", "not there"])
def test_when_published_figures_are_shown(here: CatalogSpec, split: Literal["gate", "report"], shown: bool) -> None:
    subtask = benchmark({"id": "a", "published": PUBLISHED}).subtasks[0]
    assert shown_published(subtask, here, split) == (subtask.published if shown else [])
    assert [p.metric for p in subtask.published] == ["unstated", "unstated"]


def test_every_source_of_a_subtask_needs_its_own_split() -> None:
    subtask = benchmark({"id": "a", "published": PUBLISHED, "items": [{"source": "one"}, {"source": "two"}]}).subtasks[0]
    assert shown_published(subtask, catalog(one=OWN, two=OWN)) == subtask.published
    assert shown_published(subtask, catalog(one=OWN, two=CUT)) == []


def test_nothing_published_is_nothing_shown() -> None:
    assert shown_published(benchmark({"id": "a"}).subtasks[0], catalog(drawn=OWN)) == []
