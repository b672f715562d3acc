"""Zero-shot accuracy and retrieval recall are those of the package clip-benchmark, on the same images, prompts and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from _small import model, opened, plans, with_every_protocol
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from conftest import World, make_world
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import Tensor

from radisim_cl.bench import evaluate
from radisim_cl.bench.items import items
from radisim_cl.bench.measure import measure
from radisim_cl.data.images import decode, resize
from radisim_cl.models.build import Built
from radisim_cl.models.embedder import Embedder
from radisim_cl.specs.benchmark import ClassifySubtask

BATCH = 8


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small world in which no two captions are the same."""
    world = with_every_protocol(make_world(tmp_path_factory.mktemp("captioned") / "world"))
    path = world.root / "data" / "manifest.csv"
    frame = pd.read_csv(path, dtype=str)
    frame.assign(caption=frame["caption"] + " of picture " + frame["id"]).to_csv(path, index=False)
    return world


def normalized(built: Built, world: World, rows: Sequence[int]) -> Iterator[Tensor]:
    """(3, S, S) what the model takes, image by image."""
    _, corpora = opened(world)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (built.preprocess.mean, built.preprocess.std))
    for row in rows:
        yield (resize(decode(corpora["drawn"].image(row)), built.preprocess).float() / 255 - mean) / std


@pytest.mark.parametrize("name", ["mod.three", "anat.three", "anat.mass"])
def test_zero_shot_accuracy(captioned: World, name: str) -> None:
    built, (spec, corpora) = model(captioned), opened(captioned)
    built.model.eval()
    subtask = next(s for s in spec.subtasks if s.id == name)
    assert isinstance(subtask, ClassifySubtask)
    asked = items(subtask, corpora, "gate")
    names, templates = [c.names[0] for c in subtask.classes.values()], [t.replace("{}", "{c}") for t in subtask.templates]
    classifier = zeroshot_classification.zero_shot_classifier(built.model, built.tokenizer, names, templates, "cpu", amp=False)
    images = list(normalized(built, captioned, asked["row"].tolist()))
    loader = [(torch.stack(images[i : i + BATCH]), torch.tensor(asked["truth"].to_numpy()[i : i + BATCH])) for i in range(0, len(images), BATCH)]
    logits, truth = zeroshot_classification.run_classification(built.model, classifier, loader, "cpu", amp=False)
    found = measure(evaluate.answers(Embedder(built), spec, plans(spec), corpora, "gate"), spec, "gate").estimates
    assert found[name, "accuracy"].value == pytest.approx(accuracy_score(truth, logits.argmax(1)), abs=1e-12)
    assert found[name, "balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, logits.argmax(1)), abs=1e-12)


def test_retrieval_recall(captioned: World) -> None:
    built, (spec, corpora) = model(captioned), opened(captioned)
    built.model.eval()
    subtask = next(s for s in spec.subtasks if s.id == "ret.caption")
    asked = items(subtask, corpora, "gate")
    captions = asked["caption"].tolist()
    assert len(set(captions)) == len(captions) > 30
    images = list(normalized(built, captioned, asked["row"].tolist()))
    loader = [(torch.stack(images[i : i + BATCH]), [[c] for c in captions[i : i + BATCH]]) for i in range(0, len(images), BATCH)]
    theirs = zeroshot_retrieval.evaluate(built.model, loader, built.tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10])
    found = measure(evaluate.answers(Embedder(built), spec, plans(spec), corpora, "gate"), spec, "gate").estimates
    for k in (1, 5, 10):
        assert found["ret.caption", f"i2t_recall_{k}"].value == pytest.approx(theirs[f"text_retrieval_recall@{k}"], abs=1e-6)
        assert found["ret.caption", f"t2i_recall_{k}"].value == pytest.approx(theirs[f"image_retrieval_recall@{k}"], abs=1e-6)
    assert np.ptp([found["ret.caption", f"i2t_recall_{k}"].value for k in (1, 5, 10)]) > 0, "all recalls are the same, and nothing was compared"
