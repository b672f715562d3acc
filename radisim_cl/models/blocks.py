"""What is done to the blocks of a model's towers: activations made again in the backward pass, and compilation."""

from __future__ import annotations

import os
import shutil

from open_clip.hf_model import HFTextEncoder
from torch import nn

from radisim_cl.errors import InputError


def normalizes_over_batch(clip: nn.Module) -> bool:
    """Whether what the model says of an image depends on the others of its batch, and a pass changes the model."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in clip.modules())


def checkpoint_activations(clip: nn.Module, arch: str) -> None:
    """Has an open_clip model keep what goes into each block, and make the rest again in the backward pass (Chen et al. 2016, arXiv:1604.06174).

    Raises:
        InputError: the second pass would change what the model learns, or a tower cannot do it.
    """
    if normalizes_over_batch(clip):
        raise InputError(f"{arch!r} normalizes over the batch, and a second pass would count every batch twice; take checkpoint_activations out, or "
                         "take another model")
    clip.set_grad_checkpointing(True)  # type: ignore[operator]
    text = getattr(clip, "text", clip)
    if isinstance(text, HFTextEncoder):
        text.transformer.gradient_checkpointing_enable({"use_reentrant": False})
    for tower in (clip.visual, text):
        flags = (getattr(m, f"grad{rest}_checkpointing", False) is True for m in tower.modules() for rest in ("", "ient"))  # type: ignore[union-attr]
        if not any(flags):
            raise InputError(f"a tower of {arch!r} ({type(tower).__name__}) cannot make its activations again; take checkpoint_activations out, or "
                             "take another model")


def cpp_compiler() -> str:
    """The compiler that torch.compile takes; empty where there is none."""
    return shutil.which(os.environ.get("CXX", "g++")) or ""


def compile_blocks(clip: nn.Module) -> None:
    """Compiles the blocks of a model's towers where they are: one graph serves all blocks of a kind, and names of weights stay."""
    for parent in clip.modules():
        kinds = {type(m) for m in parent.children()}
        if isinstance(parent, nn.ModuleList | nn.Sequential) and len(kinds) == 1 and any(True for m in parent.children() for _ in m.children()):
            for block in parent.children():
                block.compile()
