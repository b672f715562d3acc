"""What is frozen is what open_clip freezes, or the whole tower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import MODEL, World
from pydantic import ValidationError
from torch import nn

from radisim_cl.errors import InputError
from radisim_cl.models.build import build
from radisim_cl.models.frozen import frozen
from radisim_cl.specs.curriculum import ModelSpec, TrainSpec


def names(clip: nn.Module, **how: object) -> frozenset[str]:
    """For a stage with these fields."""
    return frozen(clip, TrainSpec.model_validate({"share": 1.0, "lr": 1e-3, **how}))


@pytest.fixture(scope="module")
def clip(shared_world: World) -> nn.Module:
    """A small ViT with a bias of the sigmoid loss."""
    return build(ModelSpec(arch=f"local-dir:{shared_world.root / 'model'}", logit_bias=-10), 0).model


def test_towers_and_scale_are_all_there_is(clip: nn.Module) -> None:
    image, text, scale = (names(clip, freeze=[part]) for part in ("image", "text", "logit_scale"))
    assert image == {f"visual.{n}" for n, _ in clip.visual.named_parameters()}  # type: ignore[union-attr]
    assert scale == {"logit_scale", "logit_bias"}
    assert image | text | scale == {n for n, _ in clip.named_parameters()}
    assert len(image) + len(text) + len(scale) == len(list(clip.named_parameters()))
    assert names(clip, freeze=["image", "text"]) == image | text
    assert names(clip) == frozenset()


@pytest.mark.parametrize(("tower", "groups", "trained"), [
    ("image", 1, ["visual.proj"]), ("image", 2, ["visual.proj", "visual.ln_post.weight", "visual.transformer.resblocks.1.mlp.c_fc.weight"]),
    ("text", 1, ["text_projection"])])
def test_the_last_groups_are_trained_all_the_same(clip: nn.Module, tower: str, groups: int, trained: list[str]) -> None:
    left = names(clip, freeze=[tower], unlocked={tower: groups})
    assert left < names(clip, freeze=[tower])
    assert not left & set(trained)
    assert left & {"visual.conv1.weight", "token_embedding.weight"}
    assert all(p.requires_grad for p in clip.parameters()), "the model stays as it is"


def test_a_tower_that_open_clip_cannot_freeze_in_part_is_refused(tmp_path: Path) -> None:
    model = {**MODEL, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    resnet = build(ModelSpec(arch=f"local-dir:{tmp_path}"), 0).model
    assert "visual.conv1.weight" in names(resnet, freeze=["image"])
    with pytest.raises(InputError, match="ModifiedResNet"):
        names(resnet, freeze=["image"], unlocked={"image": 1})
    assert all(p.requires_grad for p in resnet.parameters())


@pytest.mark.parametrize(("how", "said"), [
    ({"freeze": ["image", "text", "logit_scale"]}, "nothing is left to train"), ({"unlocked": {"image": 2}}, "freeze it"),
    ({"freeze": ["text"], "unlocked": {"image": 2}}, "image tower"), ({"freeze": ["vision"]}, "image"),
    ({"freeze": ["image"], "unlocked": {"image": 0}}, "1")])
def test_what_makes_no_sense_is_refused(how: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainSpec.model_validate({"share": 1.0, "lr": 1e-3, **how})
