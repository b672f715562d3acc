"""Sizes told from a configuration, against the model itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from radisim_cl.models import arch
from radisim_cl.models.build import build
from radisim_cl.specs.curriculum import ModelSpec


@pytest.mark.parametrize("name", ["ViT-B-32", "radisim-tiny"])
def test_parameters_are_counted_within_three_percent(name: str) -> None:
    open_clip.add_model_config(arch.CONFIGS)
    with torch.device("meta"):
        model = open_clip.create_model(name, load_weights=False, device="meta")
    real = sum(p.numel() for p in model.parameters())
    assert arch.size(name)[0] == pytest.approx(real, rel=0.03)


def test_multiply_adds_are_those_of_a_forward_pass() -> None:
    """PyTorch's own counter, which counts two operations for each."""
    clip = build(ModelSpec(arch="radisim-tiny"), 0).model.train()
    given = {"encode_image": torch.zeros(1, 3, 64, 64), "encode_text": torch.zeros(1, 32, dtype=torch.long)}
    for method, expected in zip(given, arch.size("radisim-tiny")[1:], strict=True):
        with FlopCounterMode(display=False) as counter:
            getattr(clip, method)(given[method])
        assert counter.get_total_flops() / 2 == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", ["RN50", "roberta-ViT-B-32", "hf-hub:org/name", "no-such-model", "local-dir:/no/such/folder"])
def test_what_the_configuration_does_not_say_is_zero(name: str) -> None:
    assert arch.size(name) == (0, 0.0, 0.0)


def test_known_names_are_open_clips_and_our_own() -> None:
    known = arch.known()
    assert set(open_clip.list_models()) - set(known) == set()
    assert "radisim-tiny" in known
    assert known == sorted(known)


def test_a_folder_without_a_configuration_has_none(tmp_path: Path) -> None:
    assert arch.config(f"local-dir:{tmp_path}") is None


def test_sizes_are_told_without_importing_torch() -> None:
    code = "import sys; from radisim_cl.models import arch; assert arch.size('ViT-B-32')[0] and arch.known(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
