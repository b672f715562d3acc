"""Which images a subtask asks about, in which split, and under which names."""

from __future__ import annotations

import pandas as pd
import pytest
from _small import benchmark, opened
from conftest import World

from radisim_cl.bench.items import items, pseudonym, rarest
from radisim_cl.errors import InputError
from radisim_cl.specs.benchmark import ClassifySubtask

SUBTASKS = ["mod.three", "anat.three", "anat.mass"]
SPLITS = ["train", "tune", "gate", "report"]


@pytest.mark.parametrize("subtask", SUBTASKS)
def test_every_image_with_an_answer_is_an_item_with_its_class(shared_world: World, subtask: str) -> None:
    spec, corpora = opened(shared_world)
    asked = next(s for s in spec.subtasks if s.id == subtask)
    found = items(asked, corpora)
    assert isinstance(asked, ClassifySubtask)
    assert len(found) == 180
    for _, item in found.iterrows():
        record = corpora[item["source"]].record(item["row"])
        assert record[asked.column] in list(asked.classes.values())[item["truth"]].values
        assert (record["patient"], record["split"]) == (item["patient"], item["split"])


@pytest.mark.parametrize("subtask", SUBTASKS)
def test_splits_part_the_items_and_no_patient_is_in_two(shared_world: World, subtask: str) -> None:
    spec, corpora = opened(shared_world)
    asked = next(s for s in spec.subtasks if s.id == subtask)
    parts = [items(asked, corpora, split) for split in SPLITS]
    assert all(len(p) for p in parts)
    assert all(set(p["split"]) == {s} for p, s in zip(parts, SPLITS, strict=True))
    whole = items(asked, corpora)
    assert sorted(pd.concat(parts)["row"]) == sorted(whole["row"])
    assert (whole.groupby("patient")["split"].nunique() == 1).all()


def test_a_patient_is_in_the_same_split_in_every_subtask(shared_world: World) -> None:
    spec, corpora = opened(shared_world)
    whole = pd.concat([items(s, corpora) for s in spec.subtasks])
    assert (whole.groupby("patient")["split"].nunique() == 1).all()


def test_filters_values_and_overlapping_parts(shared_world: World) -> None:
    """A class may have several values, values of no class are left out, and an image found twice is asked once."""
    _, corpora = opened(shared_world)
    asked = benchmark({"id": "x", "column": "modality", "items": [{"source": "drawn", "where": {"anatomy": "head"}},
                                                                 {"source": "drawn", "where": {"anatomy": ["head", "chest"], "label": "mass"}}],
                       "classes": {"rays": {"values": ["CT"], "names": ["a"]}, "field": {"values": ["MR", "US"], "names": ["b"]}}}).subtasks[0]
    found, frame = items(asked, corpora), corpora["drawn"].frame
    kept = (frame["modality"] != "DR") & ((frame["anatomy"] == "head") | ((frame["anatomy"] == "chest") & (frame["label"] == "mass")))
    assert sorted(found["row"]) == list(frame.index[kept])
    assert found.set_index("row")["truth"].to_dict() == frame.loc[kept, "modality"].map({"CT": 0, "MR": 1}).to_dict()


@pytest.mark.parametrize(("change", "said"), [
    ({"items": [{"source": "drwan"}]}, "unknown source 'drwan'.*drawn"), ({"column": "colour"}, "no column 'colour'"),
    ({"items": [{"source": "drawn", "where": {"plain": "axial"}}]}, "no column 'plain'.*plane"),
])
def test_items_that_cannot_be_found(shared_world: World, change: dict[str, object], said: str) -> None:
    _, corpora = opened(shared_world)
    with pytest.raises(InputError, match=said):
        items(benchmark({"id": "x"} | change).subtasks[0], corpora)


def test_rarest_counts_patients_and_not_images() -> None:
    frame = pd.DataFrame({"truth": [0, 0, 0, 0, 1, 1, 1], "patient": ["a", "a", "a", "b", "c", "d", "e"]})
    assert rarest(frame, 2) == 2
    assert rarest(frame, 3) == 0


def test_pseudonyms_are_stable_distinct_and_of_one_version() -> None:
    one = benchmark({"id": "x"})
    other = one.model_copy(update={"version": "2"})
    names = [f"patient{i}" for i in range(2000)]
    found = [pseudonym(one, n) for n in names]
    assert found == [pseudonym(one, n) for n in names]
    assert len(set(found)) == 2000
    assert not set(found) & {pseudonym(other, n) for n in names}
    assert all(n not in p and len(p) == 16 for n, p in zip(names, found, strict=True))
