"""Sizes told from a configuration, against the model itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from radisim_cl.models import arch, resnets
from radisim_cl.models.build import build
from radisim_cl.specs.curriculum import ModelSpec


@pytest.mark.parametrize("name", ["ViT-B-32", "radisim-tiny", "radisim-tiny-resnet"])
def test_parameters_are_counted_within_three_percent(name: str) -> None:
    open_clip.add_model_config(arch.CONFIGS)
    with torch.device("meta"):
        model = open_clip.create_model(name, load_weights=False, device="meta")
    real = sum(p.numel() for p in model.parameters())
    assert arch.size(name).parameters == pytest.approx(real, rel=0.03)


@pytest.mark.parametrize(("name", "side", "context"), [("radisim-tiny", 64, 32), ("radisim-tiny-resnet", 128, 24)])
def test_multiply_adds_are_those_of_a_forward_pass(name: str, side: int, context: int) -> None:
    """PyTorch's own counter, which counts two operations for each."""
    clip = build(ModelSpec(arch=name), 0).model.train()
    given = {"encode_image": torch.zeros(2, 3, side, side), "encode_text": torch.zeros(2, context, dtype=torch.long)}
    size = arch.size(name)
    for method, expected in zip(given, (2 * size.image, 2 * size.text), strict=True):
        with FlopCounterMode(display=False) as counter:
            getattr(clip, method)(given[method])
        assert counter.get_total_flops() / 2 == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", resnets.LAYOUTS)
def test_resnets_are_those_of_timm(name: str) -> None:
    with torch.device("meta"):
        tower = timm.create_model(name, num_classes=0)
        picture = torch.zeros(1, 3, 160, 160)
    parameters, macs, given, channels = resnets.size(resnets.LAYOUTS[name], 160)
    assert parameters == sum(p.numel() for p in tower.parameters())
    convolutions = [m for m in tower.modules() if isinstance(m, torch.nn.Conv2d)]
    numbers: list[int] = []
    for m in convolutions:
        m.register_forward_hook(lambda _, __, out: numbers.append(out.numel()))
    with FlopCounterMode(display=False) as counter:
        assert tower(picture).shape == (1, channels)
    assert counter.get_total_flops() / 2 == macs
    assert sum(numbers) == given


def test_memory_of_activations_is_what_autograd_keeps() -> None:
    """To a fifth: pooling, text and the loss are not counted."""
    tower, kept = build(ModelSpec(arch="radisim-tiny-resnet"), 0).model.get_submodule("visual").train(), dict[int, int]()
    own = {p.untyped_storage().data_ptr() for p in tower.parameters()}

    def pack(t: torch.Tensor) -> torch.Tensor:
        if t.untyped_storage().data_ptr() not in own:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = tower(torch.zeros(8, 3, 128, 128))
    assert out.requires_grad
    assert sum(kept.values()) / 8 == pytest.approx(arch.size("radisim-tiny-resnet").activations, rel=0.2)


@pytest.mark.parametrize("name", ["RN50", "convnext_base_w", "roberta-ViT-B-32", "hf-hub:org/name", "no-such-model", "local-dir:/no/such/folder"])
def test_what_the_configuration_does_not_say_is_zero(name: str) -> None:
    assert arch.size(name) == arch.Size()


def test_known_names_are_open_clips_and_our_own() -> None:
    known = arch.known()
    assert set(open_clip.list_models()) - set(known) == set()
    assert "radisim-tiny" in known
    assert known == sorted(known)


def test_a_folder_without_a_configuration_has_none(tmp_path: Path) -> None:
    assert arch.config(f"local-dir:{tmp_path}") is None


def test_sizes_are_told_without_importing_torch() -> None:
    code = "import sys; from radisim_cl.models import arch; assert arch.size('ViT-B-32').image and arch.known(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
