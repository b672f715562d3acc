"""Activations made again, and compiled blocks: the same gradients."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import MODEL, World
from torch import Tensor, nn

from radisim_cl.errors import InputError
from radisim_cl.models.blocks import checkpoint_activations, compile_blocks
from radisim_cl.models.build import Built, Towers, build
from radisim_cl.specs.curriculum import ModelSpec

TIMM = {**MODEL, "vision_cfg": {"image_size": 32, "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "token",
                                "timm_proj": "linear", "timm_drop_path": 0.5}}


def made(model: dict[str, object], folder: Path) -> Built:
    """A model of this configuration."""
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {"resize_mode": "squash"}}))
    return build(ModelSpec(arch=f"local-dir:{folder}"), 0)


def passed(built: Built, length: int = 16, patches: bool = True) -> tuple[list[Tensor], dict[str, Tensor], int]:
    """What a pass says, its gradients, and the bytes that it has kept for the backward pass."""
    towers, kept = Towers(built.model, built.preprocess), 0
    torch.manual_seed(1)
    images, tokens = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8), torch.randint(1, 400, (6, length))
    tokens[:, 5] = 49407

    def pack(x: Tensor) -> Tensor:
        nonlocal kept
        kept += x.numel() * x.element_size()
        return x

    towers.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = towers(images, tokens, patches)
        weights = [torch.randn(o.shape, generator=torch.Generator().manual_seed(2)) for o in out]
        total = torch.stack([(o * w).sum() for o, w in zip(out, weights, strict=True)]).sum()
    torch.autograd.backward(total)
    return list(out), {n: p.grad.clone() for n, p in built.model.named_parameters() if p.grad is not None}, kept


@pytest.mark.parametrize(("model", "patches"), [(MODEL, False), (MODEL, True), (TIMM, False)], ids=["ViT", "ViT's patches", "timm with random depth"])
@pytest.mark.parametrize("length", [16, 8])
def test_activations_made_again_give_the_same_gradients_and_take_less_memory(model: dict[str, object], patches: bool, length: int,
                                                                             tmp_path: Path) -> None:
    """Random depth falls as it did; texts that are cut are cut again."""
    built = made(model, tmp_path)
    said, gradients, kept = passed(built, length, patches)
    checkpoint_activations(built.model, "x")
    again = passed(built, length, patches)
    assert all(torch.equal(a, b) for a, b in zip(said, again[0], strict=True))
    assert all(torch.equal(gradients[n], g) for n, g in again[1].items())
    assert gradients.keys() == again[1].keys()
    assert again[2] < 0.7 * kept


def test_random_depth_is_random(tmp_path: Path) -> None:
    """Else the test above would say nothing of it."""
    built = made(TIMM, tmp_path)
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    towers = Towers(built.model, built.preprocess)
    assert not torch.equal(towers.image(images), towers.image(images))


@pytest.mark.parametrize(("arch", "said"), [
    ("radisim-tiny-resnet", "normalizes over the batch"), ("ModifiedResNet", "cannot make its activations again")])
def test_what_cannot_make_its_activations_again_is_refused(arch: str, said: str, tmp_path: Path) -> None:
    model = build(ModelSpec(arch=arch), 0).model if arch.startswith("radisim") else made(
        {**MODEL, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}, tmp_path).model
    if arch == "ModifiedResNet":
        replace_norms(model)
    with pytest.raises(InputError, match=said):
        checkpoint_activations(model, arch)


def replace_norms(module: nn.Module) -> None:
    """Batch norm out, so that the tower itself is asked."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(1, child.num_features))
        else:
            replace_norms(child)


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [lambda model: None, lambda model: checkpoint_activations(model, "x")], ids=["plain", "activations made again"])
def test_compiled_blocks_give_the_same_gradients_under_the_same_names(shared_world: World, monkeypatch: pytest.MonkeyPatch,
                                                                              prepare: Callable[[nn.Module], None]) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # a pool of compilers takes longer to start than these blocks
    eager = build(ModelSpec(arch=f"local-dir:{shared_world.root / 'model'}"), 0)
    compiled = copy.deepcopy(eager)
    for built in (eager, compiled):
        prepare(built.model)
    compile_blocks(compiled.model)
    assert any(m._compiled_call_impl for m in compiled.model.modules())
    for length in (16, 8, 16):
        for a, b in zip(passed(eager, length)[:2], passed(compiled, length)[:2], strict=True):
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
    assert compiled.model.state_dict().keys() == eager.model.state_dict().keys()
