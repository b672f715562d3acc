"""Scoring a split: zero-shot answers against open_clip's own, each image once, and nobody's name written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import open_clip
import pandas as pd
import pytest
import torch
from _small import benchmark, model, opened, plans
from conftest import World
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor

from radisim_cl.bench import evaluate, floors
from radisim_cl.bench.items import MODEL, items, pseudonym
from radisim_cl.bench.protocols import classify
from radisim_cl.corpus.blobs import Blob
from radisim_cl.data.images import decode, resize
from radisim_cl.models.build import Built
from radisim_cl.models.embedder import Embedder
from radisim_cl.specs.benchmark import ClassifySubtask

Split = Literal["tune", "gate", "report"]
SPLITS: list[Split] = ["tune", "gate", "report"]


@pytest.fixture(scope="module")
def built(shared_world: World) -> Built:
    """The micro model."""
    return model(shared_world)


@pytest.fixture(scope="module")
def embedder(built: Built) -> Embedder:
    """It, embedding."""
    return Embedder(built)


@pytest.fixture(scope="module")
def gate(shared_world: World, embedder: Embedder) -> pd.DataFrame:
    """What the micro model answers to the gate split."""
    spec, corpora = opened(shared_world)
    return evaluate.answers(embedder, spec, plans(spec), corpora, "gate")


def test_one_row_an_item_with_its_truth(shared_world: World, gate: pd.DataFrame) -> None:
    spec, corpora = opened(shared_world)
    assert set(gate["by"]) == {MODEL}
    for s in spec.subtasks:
        rows, asked = gate[gate["subtask"] == s.id], items(s, corpora, "gate")
        expected = {pseudonym(spec, corpora[i["source"]].record(i["row"])["id"]): (pseudonym(spec, i["patient"]), i["truth"])
                    for _, i in asked.iterrows()}
        assert {r["item"]: (r["patient"], r["truth"]) for _, r in rows.iterrows()} == expected
        assert len(rows) == len(asked)
        assert {len(x) for x in rows["scores"]} == {len(s.labels)}


def test_no_id_and_no_patient_is_written_down(shared_world: World, gate: pd.DataFrame) -> None:
    spec, corpora = opened(shared_world)
    both = pd.concat([gate, evaluate.floor_answers(spec, plans(spec), corpora, "gate")])
    written = both.to_csv()
    frame = corpora["drawn"].frame
    assert not [n for n in {*frame["id"], *frame["patient"], *frame["image"]} if n in written]
    assert sorted(both.columns) == ["by", "item", "patient", "scores", "subtask", "truth"]


@pytest.mark.parametrize("readers", [1, 4])
def test_answers_do_not_depend_on_readers(shared_world: World, embedder: Embedder, gate: pd.DataFrame, readers: int) -> None:
    spec, corpora = opened(shared_world)
    pd.testing.assert_frame_equal(evaluate.answers(embedder, spec, plans(spec), corpora, "gate", readers=readers), gate, check_exact=True)


@pytest.mark.parametrize("batch", [1, 7])
def test_answers_do_not_depend_on_how_images_are_batched(shared_world: World, embedder: Embedder, gate: pd.DataFrame, batch: int) -> None:
    spec, corpora = opened(shared_world)
    again = evaluate.answers(embedder, spec, plans(spec), corpora, "gate", batch=batch)
    np.testing.assert_allclose(np.concatenate(again["scores"].to_list()), np.concatenate(gate["scores"].to_list()), atol=1e-5)


def test_every_image_is_decoded_and_embedded_once(shared_world: World, built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three subtasks ask about the same images."""
    spec, corpora = opened(shared_world)
    read: Counter[Blob] = Counter()
    shown: list[int] = []

    def counting(file: Blob) -> Tensor:
        read[file] += 1
        return decode(file)

    class Counted(Embedder):
        def images(self, batches: Iterable[Tensor]) -> npt.NDArray[np.float32]:
            given = list(batches)
            shown.extend(map(len, given))
            return super().images(given)

    monkeypatch.setattr(evaluate, "decode", counting)
    evaluate.answers(Counted(built), spec, plans(spec), corpora, "gate", batch=16)
    expected = set(items(spec.subtasks[0], corpora, "gate")["row"])
    assert sum(shown) == len(read) == len(expected)
    assert set(read.values()) == {1}


def test_missing_subtasks_are_left_out(shared_world: World, embedder: Embedder, gate: pd.DataFrame) -> None:
    spec, corpora = opened(shared_world)
    some = evaluate.answers(embedder, spec, plans(spec, **{"mod.three": "no such source"}), corpora, "gate")
    pd.testing.assert_frame_equal(some, gate[gate["subtask"] != "mod.three"].reset_index(drop=True), check_exact=False, atol=1e-6)


def test_class_embeddings_by_hand() -> None:
    """Class 0 has prompts (1, 0) and (0, 1), whose normalized mean is at 45 degrees; class 1 has (0, -1) twice."""
    spec = benchmark({"id": "x", "templates": ["{}"], "classes": {"a": {"values": ["a"], "names": ["a1", "a2"]},
                                                                 "b": {"values": ["b"], "names": ["b1", "b2"]}}}).subtasks[0]
    assert isinstance(spec, ClassifySubtask)
    prompts = {"a1": [1, 0], "a2": [0, 1], "b1": [0, -1], "b2": [0, -1]}
    found = classify.queries(spec, pd.DataFrame(), lambda texts: np.array([prompts[t] for t in texts], dtype=np.float32))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(found, [[half, half], [0, -1]], atol=1e-6)


@pytest.mark.parametrize("subtask", ["mod.three", "anat.three", "anat.mass"])
def test_zero_shot_scores_and_accuracy_are_open_clips(shared_world: World, built: Built, gate: pd.DataFrame, subtask: str) -> None:
    """On the same pixels to rounding, and from the file by open_clip's own preprocessing to a grey level's worth."""
    spec, corpora = opened(shared_world)
    s = next(s for s in spec.subtasks if s.id == subtask)
    assert isinstance(s, ClassifySubtask)
    clip, names = built.model.eval(), [c.names[0] for c in s.classes.values()]
    classifier = open_clip.build_zero_shot_classifier(clip, built.tokenizer, names, list(s.templates))
    asked = items(s, corpora, "gate")
    files = [corpora["drawn"].image(row) for row in asked["row"]]
    normalize = image_transform_v2(PreprocessCfg(size=32, resize_mode="squash", mean=built.preprocess.mean, std=built.preprocess.std), is_train=False)
    same = torch.stack([normalize(Image.fromarray(resize(decode(f), built.preprocess).permute(1, 2, 0).numpy())) for f in files])
    theirs = torch.stack([normalize(Image.open(f.path)) for f in files])
    ours = np.stack(gate.loc[gate["subtask"] == subtask, "scores"].to_list())
    with torch.no_grad():
        expected = (clip.encode_image(same, normalize=True) @ classifier).numpy()  # type: ignore[operator]
        roughly = (clip.encode_image(theirs, normalize=True) @ classifier).numpy()  # type: ignore[operator]
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    np.testing.assert_allclose(ours, roughly, atol=5e-3)
    assert accuracy_score(asked["truth"], ours.argmax(axis=1)) == accuracy_score(asked["truth"], expected.argmax(axis=1))


@pytest.fixture(scope="module")
def by_floors(shared_world: World) -> pd.DataFrame:
    """What the floors answer to the gate split."""
    spec, corpora = opened(shared_world)
    return evaluate.floor_answers(spec, plans(spec), corpora, "gate")


def test_floors_answer_the_same_items_as_the_model(gate: pd.DataFrame, by_floors: pd.DataFrame) -> None:
    columns = ["subtask", "item", "patient", "truth"]
    assert set(by_floors["by"]) == {"pixel_statistics", "thumbnail"}
    for _, rows in by_floors.groupby("by"):
        pd.testing.assert_frame_equal(rows[columns].reset_index(drop=True), gate[columns])
        np.testing.assert_allclose([sum(s) for s in rows["scores"]], 1)


def test_floors_find_what_brightness_tells(by_floors: pd.DataFrame) -> None:
    """The world draws a modality as a grey value, and a mass as a bright spot."""
    rows = by_floors[(by_floors["by"] == "pixel_statistics")]
    modality, mass = (rows[rows["subtask"] == s] for s in ("mod.three", "anat.mass"))
    assert accuracy_score(modality["truth"], [int(np.argmax(s)) for s in modality["scores"]]) > 0.95
    assert roc_auc_score(mass["truth"], [s[1] - s[0] for s in mass["scores"]]) > 0.9


@pytest.mark.parametrize("split", SPLITS)
def test_floors_are_fitted_on_train_and_tune_and_not_on_what_they_answer(shared_world: World, monkeypatch: pytest.MonkeyPatch,
                                                                         split: Split) -> None:
    spec, corpora = opened(shared_world)
    real, seen = floors.predict, []

    def watched(fit: pd.DataFrame, score: pd.DataFrame, *rest: object) -> object:
        seen.append((fit, score))
        return real(fit, score, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(floors, "predict", watched)
    found = evaluate.floor_answers(spec, plans(spec), corpora, split)
    assert len(seen) == len(spec.subtasks)
    for fit, score in seen:
        assert set(fit["split"]) == {"train", "tune"} - {split}
        assert set(score["split"]) == {split}
        assert not set(fit["patient"]) & set(score["patient"])
    assert len(found) == 2 * sum(len(score) for _, score in seen)


def test_floors_do_not_know_the_labels_of_what_they_answer(world: World, by_floors: pd.DataFrame) -> None:
    """Mixed up outside train and tune, the labels change which rows are right and no answer."""
    spec, corpora = opened(world)
    frame = corpora["drawn"].frame
    held = frame["split"].isin(["gate", "report"])
    frame.loc[held, "label"] = frame.loc[held, "label"].map({"mass": "normal", "normal": "mass"})
    mixed = evaluate.floor_answers(spec, plans(spec), corpora, "gate")
    assert mixed["scores"].tolist() == by_floors["scores"].tolist()
    assert (mixed["truth"] != by_floors["truth"]).sum() == (by_floors["subtask"] == "anat.mass").sum()
