"""What has been embedded is not embedded again, whatever happened to the file in between, and a score from the cache is the same score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from _small import model, opened, plans
from conftest import World

from radisim_cl.bench import evaluate
from radisim_cl.bench.kept import Kept, Memory, floors
from radisim_cl.models.embedder import Embedder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("RADISIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answers(world: World, embedder: Embedder, memory: Memory | None) -> pd.DataFrame:
    """To the gate split, from a memory."""
    spec, corpora = opened(world)
    return evaluate.answers(embedder, spec, plans(spec), corpora, "gate", memory=memory)


def floor_answers(world: World, kept: Kept | None) -> pd.DataFrame:
    """The floors' answers to the gate split."""
    spec, corpora = opened(world)
    return evaluate.floor_answers(spec, plans(spec), corpora, "gate", kept=kept)


def test_the_second_time_nothing_is_decoded_and_nothing_embedded(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Embedder(model(shared_world))
    expected, expected_floors = answers(shared_world, embedder, None), floor_answers(shared_world, None)
    memory, kept = Memory.of(embedder.digest()), floors()
    pd.testing.assert_frame_equal(answers(shared_world, embedder, memory), expected)
    pd.testing.assert_frame_equal(floor_answers(shared_world, kept), expected_floors)
    assert memory.images.made > 0
    assert memory.texts.made > 0
    memory.save()
    kept.save()

    def never(*args: object) -> None:
        raise AssertionError("was called")

    monkeypatch.setattr(evaluate, "decode", never)
    monkeypatch.setattr(embedder._towers, "image", never)
    monkeypatch.setattr(embedder._towers, "text", never)
    again = Memory.of(embedder.digest())
    pd.testing.assert_frame_equal(answers(shared_world, embedder, again), expected)
    pd.testing.assert_frame_equal(floor_answers(shared_world, floors()), expected_floors)
    assert again.images.made == again.texts.made == 0


def test_an_image_in_two_corpora_is_embedded_once(world: World) -> None:
    """A copy under another name is the same bytes."""
    folder = world.root / "data"
    manifest = pd.read_csv(folder / "manifest.csv", dtype=str)
    (folder / "copies").mkdir()
    for image in manifest["image"]:
        (folder / "copies" / Path(image).name).write_bytes((folder / image).read_bytes())
    copies = manifest.assign(id="copy-" + manifest["id"], image="copies/" + manifest["image"].str.removeprefix("images/"))
    pd.concat([manifest, copies]).to_csv(folder / "manifest.csv", index=False)
    memory = Memory(None)
    found = answers(world, Embedder(model(world)), memory)
    assert memory.images.made == found.loc[found["subtask"] == "mod.three", "item"].nunique() / 2


def test_other_weights_another_transform_or_another_precision_are_another_model(shared_world: World) -> None:
    built = model(shared_world)
    first = Embedder(built)
    digests = {first.digest(), Embedder(built, autocast=torch.bfloat16).digest()}
    with torch.no_grad():
        built.model.logit_scale.add_(1e-3)  # type: ignore[operator]
    digests.add(first.digest())
    other = model(shared_world)
    assert Embedder(other).digest() in digests, "the same weights are the same model"
    object.__setattr__(other, "preprocess", other.preprocess.model_copy(update={"resize": "longest"}))
    digests.add(Embedder(other).digest())
    assert len(digests) == 4


@pytest.mark.parametrize("spoil", [
    lambda f: f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]), lambda f: f.write_bytes(b""), lambda f: f.write_bytes(b"{}" * 50), Path.unlink,
], ids=["torn", "empty", "of something else", "gone"])
def test_a_spoilt_file_is_made_anew(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "x.safetensors"
    first = Kept(path)
    first.add([("a", np.arange(3.0))])
    first.save()
    assert callable(spoil)
    spoil(path)
    second = Kept(path)
    assert second.lacking(["a"]) == ["a"]
    second.add([("a", np.ones(2)), ("b", np.zeros(1))])
    second.save()
    assert {k: v.tolist() for k, v in Kept(path).items()} == {"a": [1.0, 1.0], "b": [0.0]}


def test_two_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    one, two = Kept(path), Kept(path)
    one.add([("a", np.zeros(1))])
    two.add([("b", np.ones(1))])
    one.save()
    two.save()
    assert sorted(Kept(path)) == ["a", "b"]
    assert not list(tmp_path.glob(".*tmp"))


def test_neither_texts_nor_ids_are_in_the_cache(shared_world: World, cache: Path) -> None:
    embedder = Embedder(model(shared_world))
    memory = Memory.of(embedder.digest())
    answers(shared_world, embedder, memory)
    memory.save()
    written = b"".join(f.read_bytes() for f in cache.rglob("*") if f.is_file())
    assert written
    assert not any(secret in written for secret in (b"patient", b"image", b"head"))
